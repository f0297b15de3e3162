using System;

namespace Npcmeta.Wire
{
    /// <summary>Bytes that are not what they should be: cut off, too long, too deep, or no message at all.</summary>
    public sealed class WireException : Exception
    {
        /// <summary>Makes an exception that says what came and what was expected.</summary>
        public WireException(string message) : base(message)
        {
        }
    }
}
