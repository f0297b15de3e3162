using System;
using System.Collections.Generic;
using System.Net;
using System.Threading;
using Npcmeta.Wire;

namespace Npcmeta
{
    /// <summary>
    /// Calls a server over gRPC-Web, on HTTP/1.1. Calls block; a game makes them off its main thread. A channel may be
    /// used by many threads at once; connections are kept and used again.
    /// </summary>
    public sealed class GrpcWebChannel
    {
        /// <summary>Makes a channel to, for example, "http://127.0.0.1:8080". Nothing is sent yet.</summary>
        /// <exception cref="ArgumentException">The address is not one of http or https.</exception>
        public GrpcWebChannel(string server)
        {
            Uri address;
            bool isAddress = Uri.TryCreate(server, UriKind.Absolute, out address);
            if (!isAddress || (address.Scheme != Uri.UriSchemeHttp && address.Scheme != Uri.UriSchemeHttps))
            {
                string message = "the server is \"" + server + "\", expected an address like http://127.0.0.1:8080";
                throw new ArgumentException(message);
            }
            Server = server.TrimEnd('/');
        }

        /// <summary>The server's address.</summary>
        public string Server { get; }

        /// <summary>How long a whole call may take, its stream included.</summary>
        public TimeSpan Timeout { get; set; } = TimeSpan.FromSeconds(30);

        /// <summary>The longest message that is accepted.</summary>
        public int MaxMessageBytes { get; set; } = 16 * 1024 * 1024;

        /// <summary>Calls at once, at most; others wait.</summary>
        public int MaxConnections { get; set; } = 8;

        /// <summary>Shows the server who calls, where it asks for that; null: nothing is shown.</summary>
        public string Token { get; set; }

        /// <summary>A proxy to go through; null: none.</summary>
        public IWebProxy Proxy { get; set; }

        /// <summary>One request, one answer.</summary>
        /// <exception cref="RpcException">The call failed.</exception>
        public T Unary<T>(string path, IMessage request, CancellationToken cancellation = default(CancellationToken))
            where T : IMessage, new()
        {
            using (var call = new GrpcWebCall(this, path, request, cancellation))
            {
                T answer = call.Next<T>();
                if (answer == null) throw new RpcException(StatusCode.Internal, "neither an answer nor an error came");
                if (call.Next<T>() != null) throw new RpcException(StatusCode.Internal, "more than one answer came");
                return answer;
            }
        }

        /// <summary>One request, many answers, as they come. Leaving the loop early ends the call.</summary>
        /// <exception cref="RpcException">The call failed; may be thrown at any turn of the loop.</exception>
        public IEnumerable<T> Stream<T>(
            string path, IMessage request, CancellationToken cancellation = default(CancellationToken))
            where T : IMessage, new()
        {
            using (var call = new GrpcWebCall(this, path, request, cancellation))
            {
                for (T answer = call.Next<T>(); answer != null; answer = call.Next<T>()) yield return answer;
            }
        }
    }
}
