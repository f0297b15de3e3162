namespace Npcmeta.Wire
{
    /// <summary>What every generated message can do.</summary>
    public interface IMessage
    {
        /// <summary>Writes the fields that differ from their defaults.</summary>
        void WriteTo(WireWriter writer);

        /// <summary>Reads fields until the message ends; lists grow, other fields are replaced.</summary>
        /// <exception cref="WireException">The bytes are no message.</exception>
        void MergeFrom(WireReader reader);
    }

    /// <summary>Messages to bytes and back.</summary>
    public static class MessageBytes
    {
        /// <summary>The message as it goes over the wire.</summary>
        public static byte[] ToBytes(this IMessage message)
        {
            var writer = new WireWriter();
            message.WriteTo(writer);
            return writer.ToArray();
        }

        /// <summary>The message that the bytes hold.</summary>
        /// <exception cref="WireException">They hold none.</exception>
        public static T Parse<T>(byte[] bytes) where T : IMessage, new()
        {
            var message = new T();
            message.MergeFrom(new WireReader(bytes));
            return message;
        }
    }
}
