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
        Carry(client, bob);
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

    /// <summary>Renamed, cloned, fetched as a file and taken back from it, rolled back to what acts already.</summary>
    private static void Carry(NpcmetaClient client, Npc npc)
    {
        Npc renamed = client.RenameNpc(npc.Name, "Bob \u00c4");
        Expect(renamed.DisplayName + " " + renamed.Seed, "Bob \u00c4 " + npc.Seed);
        ExpectError(() => client.RenameNpc(npc.Name, "Eve", npc.Etag), StatusCode.Aborted, "ETAG_MISMATCH");
        Npc copy = client.CloneNpc(new CloneNpcRequest { Source = npc.Name, NpcId = "rob" });
        Expect(copy.DisplayName + " " + (copy.Seed == npc.Seed), "Bob \u00c4 False"); // it does not act in unison
        using (var file = new System.IO.MemoryStream())
        {
            client.FetchAsset(copy.Name + "/assets/npc", file);
            Npc taken = client.ImportNpc(new ImportNpcRequest { NpcId = "bert", File = file.ToArray() });
            Expect(taken.Name + " " + taken.DisplayName, "npcs/bert Bob \u00c4");
        }
        string only = client.ListRevisions(copy.Name).Single().Name;
        Expect(client.RollbackNpc(copy.Name, only).Revision, only);
        ExpectError(() => client.RollbackNpc(copy.Name, copy.Name + "/revisions/2"), StatusCode.NotFound, "REVISION_NOT_FOUND");
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
