using System;
using System.Text;

namespace Npcmeta.Wire
{
    /// <summary>
    /// Reads the protobuf encoding from bytes that may come from anybody. Every length is held against what is left
    /// before anything is made of it, so nothing is read past the end and no allocation is larger than the input.
    /// </summary>
    public sealed class WireReader
    {
        /// <summary>Messages in messages, at most.</summary>
        public const int MaxDepth = 100;

        /// <summary>Messages within one, at most: an empty one takes two bytes of input, and far more of memory.</summary>
        public const int MaxMessages = 1000000;

        private static readonly Encoding Utf8 = new UTF8Encoding(false, true);

        private readonly byte[] bytes;
        private int position;
        private int end;
        private int depth;
        private int messages;

        /// <summary>Begins at the start of <paramref name="bytes"/>, which are not copied.</summary>
        public WireReader(byte[] bytes)
        {
            this.bytes = bytes ?? throw new ArgumentNullException(nameof(bytes));
            end = bytes.Length;
        }

        /// <summary>Whether the piece that is being read (a message, a packed list) is at its end.</summary>
        public bool AtEnd
        {
            get { return position == end; }
        }

        /// <summary>The next field's number and wire type, or 0 at the end.</summary>
        public uint ReadTag()
        {
            if (AtEnd) return 0;
            ulong tag = ReadUInt64();
            if (tag > uint.MaxValue || tag >> 3 == 0) throw Wrong("field number " + (tag >> 3) + " is out of range");
            return (uint)tag;
        }

        /// <summary>Begins a piece that starts with its length; what it returns goes to <see cref="End"/>.</summary>
        public int Begin()
        {
            int outer = end;
            int length = ReadLength();
            end = position + length;
            return outer;
        }

        /// <summary>Ends a piece that was read to its end.</summary>
        public void End(int outer)
        {
            end = outer;
        }

        /// <summary>Reads a message into <paramref name="message"/> and returns it.</summary>
        public T ReadMessage<T>(T message) where T : IMessage
        {
            Enter();
            if (++messages > MaxMessages) throw Wrong("it holds more than " + MaxMessages + " messages");
            int outer = Begin();
            message.MergeFrom(this);
            End(outer);
            depth--;
            return message;
        }

        /// <summary>Reads a varint, up to ten bytes; bits past the 64th are cut off, as protobuf does.</summary>
        public ulong ReadUInt64()
        {
            ulong value = 0;
            for (int shift = 0; shift < 64; shift += 7)
            {
                byte next = ReadByte();
                value |= (ulong)(next & 0x7F) << shift;
                if (next < 0x80) return value;
            }
            throw Wrong("a number is longer than ten bytes");
        }

        /// <summary>Reads an int64.</summary>
        public long ReadInt64()
        {
            return unchecked((long)ReadUInt64());
        }

        /// <summary>Reads an int32 or an enum; higher bits are cut off, as protobuf says.</summary>
        public int ReadInt32()
        {
            return unchecked((int)ReadUInt64());
        }

        /// <summary>Reads a uint32; higher bits are cut off.</summary>
        public uint ReadUInt32()
        {
            return unchecked((uint)ReadUInt64());
        }

        /// <summary>Reads a bool.</summary>
        public bool ReadBool()
        {
            return ReadUInt64() != 0;
        }

        /// <summary>Reads a float.</summary>
        public float ReadFloat()
        {
            byte[] four = BitConverter.GetBytes((uint)ReadFixed(4));
            return BitConverter.ToSingle(four, 0);
        }

        /// <summary>Reads a double.</summary>
        public double ReadDouble()
        {
            return BitConverter.Int64BitsToDouble(unchecked((long)ReadFixed(8)));
        }

        /// <summary>Reads text.</summary>
        public string ReadString()
        {
            int length = ReadLength();
            try
            {
                string text = Utf8.GetString(bytes, position, length);
                position += length;
                return text;
            }
            catch (ArgumentException)
            {
                throw Wrong("a text is not UTF-8");
            }
        }

        /// <summary>Reads bytes, as a copy.</summary>
        public byte[] ReadBytes()
        {
            int length = ReadLength();
            if (length == 0) return WireWriter.NoBytes;
            var copy = new byte[length];
            Buffer.BlockCopy(bytes, position, copy, 0, length);
            position += length;
            return copy;
        }

        /// <summary>Passes over a field that nobody knows.</summary>
        public void Skip(uint tag)
        {
            switch (tag & 7)
            {
                case 0:
                    ReadUInt64();
                    break;
                case 1:
                    ReadFixed(8);
                    break;
                case 2:
                    int length = ReadLength();
                    position += length;
                    break;
                case 3:
                    SkipGroup(tag >> 3);
                    break;
                case 5:
                    ReadFixed(4);
                    break;
                default:
                    throw Wrong("wire type " + (tag & 7) + " of field " + (tag >> 3) + " has no place here");
            }
        }

        private void SkipGroup(uint field)
        {
            Enter();
            uint tag;
            while ((tag = ReadTag()) != (field << 3 | 4))
            {
                if (tag == 0) throw Wrong("group " + field + " has no end");
                Skip(tag);
            }
            depth--;
        }

        private void Enter()
        {
            if (++depth > MaxDepth) throw Wrong("messages are nested more than " + MaxDepth + " deep");
        }

        private int ReadLength()
        {
            ulong length = ReadUInt64();
            int left = end - position;
            if (length > (ulong)left) throw Wrong(length + " bytes are announced, " + left + " are left");
            return (int)length;
        }

        private ulong ReadFixed(int size)
        {
            ulong value = 0;
            for (int i = 0; i < size; i++) value |= (ulong)ReadByte() << (8 * i);
            return value;
        }

        private byte ReadByte()
        {
            if (AtEnd) throw Wrong("the bytes end in the middle of a field");
            return bytes[position++];
        }

        private WireException Wrong(string what)
        {
            return new WireException("not a message: " + what + " (at byte " + position + " of " + bytes.Length + ")");
        }
    }
}
