using System;
using System.Globalization;
using System.Linq;
using Npcmeta.V1;

namespace Npcmeta.Samples.Headless
{
    /// <summary>How near actions are to those of the character that is imitated. Smaller is nearer.</summary>
    internal sealed class Likeness
    {
        private Likeness(double? distance, double? misses)
        {
            Distance = distance;
            Misses = misses;
        }

        /// <summary>Mean absolute difference of the continuous actions; null without any.</summary>
        public double? Distance { get; }

        /// <summary>Share of discrete choices that differ; null without any.</summary>
        public double? Misses { get; }

        /// <summary>Compares actions with those wanted.</summary>
        public static Likeness Of(ActOnceResponse found, Examples wanted)
        {
            return new Likeness(Distances(found, wanted), ShareOfMisses(found, wanted));
        }

        /// <inheritdoc/>
        public override string ToString()
        {
            string moves = Distance.HasValue ? "continuous actions are off by " + Text(Distance.Value) : "";
            string choices = Misses.HasValue ? Text(100 * Misses.Value) + " % of the discrete choices differ" : "";
            return string.Join(", ", new[] { moves, choices }.Where(part => part.Length > 0));
        }

        private static double? Distances(ActOnceResponse found, Examples wanted)
        {
            if (wanted.ContinuousActions == null) return null;
            float[] moves = Tensors.ToFloats(found.ContinuousActions);
            float[] shown = Tensors.ToFloats(wanted.ContinuousActions);
            return shown.Zip(moves, (one, other) => Math.Abs(one - other)).Average();
        }

        private static double? ShareOfMisses(ActOnceResponse found, Examples wanted)
        {
            if (wanted.DiscreteActions == null) return null;
            long[] choices = Tensors.ToLongs(found.DiscreteActions);
            long[] shown = Tensors.ToLongs(wanted.DiscreteActions);
            return shown.Zip(choices, (one, other) => one == other ? 0.0 : 1.0).Average();
        }

        private static string Text(double value)
        {
            return value.ToString("0.###", CultureInfo.InvariantCulture);
        }
    }
}
