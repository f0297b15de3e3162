using System;
using System.Collections.Generic;
using Npcmeta.WellKnown;

namespace Npcmeta
{
    /// <summary>
    /// A call that failed. <see cref="Exception.Message"/> says to people what came, what was expected and what to do;
    /// programs look at <see cref="Code"/> and <see cref="Reason"/>.
    /// </summary>
    public sealed class RpcException : Exception
    {
        /// <summary>Makes an exception; <paramref name="info"/> may be null.</summary>
        public RpcException(StatusCode code, string message, ErrorInfo info = null, Exception cause = null)
            : base(message, cause)
        {
            Code = code;
            Info = info;
        }

        /// <summary>The kind of failure.</summary>
        public StatusCode Code { get; }

        /// <summary>What the server says about it to programs; null if it said nothing.</summary>
        public ErrorInfo Info { get; }

        /// <summary>For example "NPC_NOT_FOUND"; empty if the server gave no reason.</summary>
        public string Reason
        {
            get { return Info == null ? "" : Info.Reason; }
        }

        /// <summary>Facts about the failure, for example what was expected and what was found.</summary>
        public IReadOnlyDictionary<string, string> Metadata
        {
            get { return Info == null ? new Dictionary<string, string>() : Info.Metadata; }
        }
    }
}
