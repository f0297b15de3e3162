using System;
using System.Linq;
using Npcmeta;
using Npcmeta.V1;

/// <summary>Uses every method of the client that the sample does not use, against a real server.</summary>
internal static class ServerCheck
{
    private static void Main(string[] arguments)
    {
        var client = new NpcmetaClient(arguments[0]);
        Archetype archetype = client.GetArchetype(arguments[1]);
        Expect(client.ListArchetypes().Single(a => a.Name == archetype.Name).Revision, archetype.Revision);

        var make = new CreateNpcRequest { Npc = new Npc { Archetype = archetype.Name, Seed = long.MaxValue } };
        make.NpcId = "bob";
        make.RequestId = "once";
        Npc bob = client.CreateNpc(make);
        Expect(client.CreateNpc(make).Etag, bob.Etag);
        Expect(client.GetNpc("npcs/bob").Seed, (ulong)long.MaxValue);
        Expect(client.ListNpcs(archetype.Name).Count(npc => npc.Name == "npcs/bob"), 1);
        Expect(client.ListNpcs().Count(npc => npc.Name == "npcs/bob"), 1);

        ActMasked(client, bob, archetype.Spec);
        ExpectError(() => client.DeleteNpc(bob.Name, "stale"), StatusCode.Aborted, "ETAG_MISMATCH");
        client.DeleteNpc(bob.Name, client.GetNpc(bob.Name).Etag);
        ExpectError(() => client.GetNpc(bob.Name), StatusCode.NotFound, "NPC_NOT_FOUND");
        ExpectError(() => client.FetchAsset(bob.Name + "/assets/ort", System.IO.Stream.Null), StatusCode.NotFound, "NPC_NOT_FOUND");
        Console.WriteLine("all as expected");
    }

    /// <summary>Only the last choice of each branch is allowed, so it is what comes back.</summary>
    private static void ActMasked(NpcmetaClient client, Npc npc, BehaviorSpec spec)
    {
        bool[] mask = spec.Action.BranchSizes.SelectMany(size => Enumerable.Range(1, size).Select(i => i == size)).ToArray();
        var request = new ActOnceRequest { Archetype = npc.Archetype, Sampled = true, Number = 3 };
        request.Npcs.Add(npc.Name);
        request.Observations = Tensors.FromFloats(new float[spec.ObservationSize], 1, spec.ObservationSize);
        request.ActionMask = Tensors.FromBools(mask, 1, mask.Length);
        ActOnceResponse answer = client.ActOnce(request);
        Expect(Tensors.ToBools(request.ActionMask).SequenceEqual(mask), true);
        Expect(Tensors.ToLongs(answer.DiscreteActions).SequenceEqual(spec.Action.BranchSizes.Select(n => n - 1L)), true);
        Expect(Tensors.ToFloats(answer.ContinuousActions).Length, spec.Action.ContinuousSize);
        Expect(answer.Revisions.Single(), 1UL);
    }

    private static void Expect<T>(T found, T expected)
    {
        if (!Equals(found, expected)) throw new Exception("found " + found + ", expected " + expected);
    }

    private static void ExpectError(Action call, StatusCode code, string reason)
    {
        try
        {
            call();
        }
        catch (RpcException failed)
        {
            Expect(failed.Code + " " + failed.Reason, code + " " + reason);
            return;
        }
        throw new Exception("no error came, expected " + reason);
    }
}
