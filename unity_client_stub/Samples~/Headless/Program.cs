using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Linq;
using Npcmeta.V1;
using Npcmeta.Wire;

namespace Npcmeta.Samples.Headless
{
    /// <summary>
    /// What a game does with the server, without a game: makes an NPC, shows it how somebody plays, watches it adapt,
    /// lets it act, fetches it as a file, and sees what an error looks like. The NPC stays on the server.
    /// </summary>
    internal static class Program
    {
        private const int Demonstrations = 3, StepsEach = 50, JudgedSteps = 200;

        private static int Main(string[] arguments)
        {
            try
            {
                Run(Options.Parse(arguments));
                return 0;
            }
            catch (RpcException failed)
            {
                string reason = failed.Reason.Length > 0 ? " (" + failed.Reason + ")" : "";
                Console.Error.WriteLine("error: " + failed.Code + reason + ": " + failed.Message);
            }
            catch (Exception failed) when (
                failed is ArgumentException || failed is IOException || failed is WireException
                || failed is UnauthorizedAccessException || failed is InvalidOperationException)
            {
                Console.Error.WriteLine("error: " + failed.Message);
            }
            return 1;
        }

        private static void Run(Options options)
        {
            var client = new NpcmetaClient(options.Server);
            client.Channel.Token = Environment.GetEnvironmentVariable("NPCMETA_TOKEN");
            Archetype archetype = Choose(client.ListArchetypes(), options);
            var character = new ScriptedCharacter(archetype.Spec, 7);
            Npc npc = client.CreateNpc(new CreateNpcRequest
            {
                Npc = new Npc { Archetype = archetype.Name, DisplayName = "Headless sample", Seed = 7 },
                RequestId = Guid.NewGuid().ToString(),
            });
            Console.WriteLine("made " + npc.Name + " of " + npc.Archetype);

            Examples judged = character.Play(JudgedSteps, 1000);
            Likeness before = Likeness.Of(Act(client, npc, judged.Observations), judged);
            Adapt(client, npc, character);
            Likeness after = Likeness.Of(Act(client, npc, judged.Observations), judged);
            Console.WriteLine("before: " + before);
            Console.WriteLine("after:  " + after);

            string file = client.FetchAssetToFolder(npc.Name + "/assets/ort", options.Assets);
            Console.WriteLine("fetched " + file + ", " + new FileInfo(file).Length + " bytes, digest as announced");
            ProvokeError(client, npc, archetype.Spec.ObservationSize);
        }

        private static Archetype Choose(List<Archetype> offered, Options options)
        {
            foreach (Archetype archetype in offered) Console.WriteLine(Describe(archetype));
            bool any = options.Archetype.Length == 0;
            Archetype chosen = offered.FirstOrDefault(archetype => any || archetype.Name == options.Archetype);
            if (chosen != null) return chosen;
            if (offered.Count == 0) throw new InvalidOperationException(options.Server + " offers no archetypes yet");
            string names = string.Join(", ", offered.Select(archetype => archetype.Name));
            throw new InvalidOperationException("there is no " + options.Archetype + "; the server offers " + names);
        }

        private static string Describe(Archetype archetype)
        {
            ActionSpec action = archetype.Spec.Action;
            string branches = "[" + string.Join(", ", action.BranchSizes) + "]";
            return archetype.Name + " (" + archetype.Learner + "): sees " + archetype.Spec.ObservationSize
                + " values, decides " + action.ContinuousSize + " continuous actions and branches " + branches;
        }

        /// <summary>One clip is stored beforehand and named, the others are sent along.</summary>
        private static void Adapt(NpcmetaClient client, Npc npc, ScriptedCharacter character)
        {
            var clip = new CreateDemonstrationRequest { Parent = npc.Name, Examples = character.Play(StepsEach, 0) };
            Demonstration stored = client.CreateDemonstration(clip);
            Console.WriteLine("stored " + stored.Name + " with " + stored.Examples + " examples");
            var request = new AdaptOnceRequest
            {
                Setup = new AdaptSetup { Npc = npc.Name, RequestId = Guid.NewGuid().ToString() },
            };
            request.Demonstrations.Add(stored.Name);
            for (int i = 1; i < Demonstrations; i++) request.Examples.Add(character.Play(StepsEach, i));
            Committed committed = client.AdaptOnce(request, Show);
            Revision made = committed.Revision;
            Console.WriteLine("committed " + made.Name + ", adapted from " + made.Examples + " examples");
        }

        private static void Show(AdaptResponse happened)
        {
            switch (happened.ResponseCase)
            {
                case AdaptResponse.ResponseOneofCase.Accepted:
                    Console.WriteLine("accepted " + happened.Accepted.Examples + " examples");
                    break;
                case AdaptResponse.ResponseOneofCase.Progress:
                    Progress at = happened.Progress;
                    string nll = at.SupportNll.ToString("0.000", CultureInfo.InvariantCulture);
                    Console.WriteLine("step " + at.Step + " of " + at.Steps + ": " + nll + " nats per decision");
                    if (at.MoreExamples > 0)
                    {
                        string known = at.Known.ToString("0 %", CultureInfo.InvariantCulture);
                        Console.WriteLine("known to " + known + "; " + at.MoreExamples + " more examples would help");
                    }
                    break;
            }
        }

        private static ActOnceResponse Act(NpcmetaClient client, Npc npc, Tensor observations)
        {
            var request = new ActOnceRequest { Archetype = npc.Archetype, Observations = observations };
            request.Npcs.AddRange(Enumerable.Repeat(npc.Name, (int)observations.Shape[0]));
            return client.ActOnce(request);
        }

        private static void ProvokeError(NpcmetaClient client, Npc npc, int size)
        {
            try
            {
                Act(client, npc, Tensors.FromFloats(new float[size + 1], 1, size + 1));
            }
            catch (RpcException expected) when (expected.Code == StatusCode.InvalidArgument)
            {
                Console.WriteLine("with an observation too long: " + expected.Message);
                string facts = string.Join(", ", expected.Metadata.Select(fact => fact.Key + " = " + fact.Value));
                Console.WriteLine("its reason for programs: " + expected.Reason + " (" + facts + ")");
                return;
            }
            throw new InvalidOperationException("the server accepted an observation of " + (size + 1) + " values");
        }
    }
}
