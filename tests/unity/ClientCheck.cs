using System;
using System.IO;
using System.Linq;
using System.Threading;
using Npcmeta;

/// <summary>Makes one call to each of the places of a server that are named, and prints a line about how it went.</summary>
internal static class ClientCheck
{
    private static void Main(string[] arguments)
    {
        foreach (string place in arguments.Skip(2))
        {
            var channel = new GrpcWebChannel(arguments[0] + "/" + place) { MaxMessageBytes = 4000 };
            channel.Timeout = TimeSpan.FromSeconds(place.EndsWith("slow") ? 0.5 : 20);
            Console.WriteLine(place + "\t" + Outcome(() => Call(new NpcmetaClient(channel), place, arguments[1])));
        }
    }

    private static string Call(NpcmetaClient client, string place, string folder)
    {
        if (place == "cancelled-slow")
        {
            var cancellation = new CancellationTokenSource(100);
            return client.ListArchetypes(cancellation.Token).Count.ToString();
        }
        if (place.StartsWith("asset-")) return Path.GetFileName(client.FetchAssetToFolder("npcs/bob/assets/ort", folder));
        return string.Join(" ", client.ListArchetypes().Select(archetype => archetype.Name));
    }

    private static string Outcome(Func<string> call)
    {
        try
        {
            return "OK\t" + call();
        }
        catch (RpcException failed)
        {
            string facts = string.Join(" ", failed.Metadata.Select(pair => pair.Key + "=" + pair.Value));
            return string.Join("\t", failed.Code, failed.Message, failed.Reason, facts);
        }
        catch (OperationCanceledException)
        {
            return "taken back\t";
        }
    }
}
