using System;
using System.Collections.Generic;
using System.Linq;
using Npcmeta.V1;

namespace Npcmeta.Samples.Headless
{
    /// <summary>
    /// Somebody to imitate, for any behavior spec: leans to some actions, and more or less so with what it sees. In a
    /// game this is a person at the controls, or a behavior tree.
    /// </summary>
    internal sealed class ScriptedCharacter
    {
        private const double Lean = 1.5, Attention = 0.3;

        private readonly int observationSize;
        private readonly int continuousSize;
        private readonly int[] branchSizes;
        private readonly double[][] weights;
        private readonly double[] leans;

        /// <summary>Makes a character; the same seed makes the same one.</summary>
        public ScriptedCharacter(BehaviorSpec spec, int seed)
        {
            observationSize = spec.ObservationSize;
            continuousSize = spec.Action.ContinuousSize;
            branchSizes = spec.Action.BranchSizes.ToArray();
            var random = new Random(seed);
            int outputs = continuousSize + branchSizes.Sum();
            leans = Enumerable.Range(0, outputs).Select(_ => Lean * Normal(random)).ToArray();
            double scale = Attention / Math.Sqrt(observationSize);
            weights = leans.Select(_ => Normals(random, observationSize).Select(w => scale * w).ToArray()).ToArray();
        }

        /// <summary>What it sees in <paramref name="steps"/> steps, and what it then does.</summary>
        public Examples Play(int steps, int seed)
        {
            var random = new Random(seed);
            float[] seen = Normals(random, steps * observationSize).Select(value => (float)value).ToArray();
            double[][] wanted = Enumerable.Range(0, steps).Select(step => Want(seen, step)).ToArray();
            var examples = new Examples { Observations = Tensors.FromFloats(seen, steps, observationSize) };
            if (continuousSize > 0)
            {
                IEnumerable<double> leaning = wanted.SelectMany(row => row.Take(continuousSize));
                float[] moves = leaning.Select(value => (float)Math.Tanh(value)).ToArray();
                examples.ContinuousActions = Tensors.FromFloats(moves, steps, continuousSize);
            }
            if (branchSizes.Length > 0)
            {
                long[] choices = wanted.SelectMany(Choose).ToArray();
                examples.DiscreteActions = Tensors.FromLongs(choices, steps, branchSizes.Length);
            }
            return examples;
        }

        private double[] Want(float[] seen, int step)
        {
            return leans.Select((lean, output) => lean + Sum(weights[output], seen, step * observationSize)).ToArray();
        }

        private long[] Choose(double[] wanted)
        {
            int start = continuousSize;
            var choices = new long[branchSizes.Length];
            for (int branch = 0; branch < branchSizes.Length; branch++)
            {
                double[] scores = wanted.Skip(start).Take(branchSizes[branch]).ToArray();
                choices[branch] = Array.IndexOf(scores, scores.Max());
                start += branchSizes[branch];
            }
            return choices;
        }

        private static double Sum(double[] weights, float[] seen, int start)
        {
            return weights.Select((weight, i) => weight * seen[start + i]).Sum();
        }

        private static double[] Normals(Random random, int count)
        {
            return Enumerable.Range(0, count).Select(_ => Normal(random)).ToArray();
        }

        private static double Normal(Random random)
        {
            return Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());
        }
    }
}
