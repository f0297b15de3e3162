using System;
using System.Text;

namespace Npcmeta.Wire
{
    /// <summary>Writes the protobuf encoding into a buffer that grows.</summary>
    public sealed class WireWriter
    {
        /// <summary>The value of a bytes field that is not set.</summary>
        public static readonly byte[] NoBytes = new byte[0];

        private static readonly Encoding Utf8 = new UTF8Encoding(false, true);

        private byte[] buffer = new byte[256];
        private int position;

        /// <summary>Whether proto3 sends the number: every one but +0.</summary>
        public static bool IsPresent(double value)
        {
            return BitConverter.DoubleToInt64Bits(value) != 0;
        }

        /// <summary>What was written.</summary>
        public byte[] ToArray()
        {
            var copy = new byte[position];
            Buffer.BlockCopy(buffer, 0, copy, 0, position);
            return copy;
        }

        /// <summary>Begins a field.</summary>
        public void WriteTag(int field, int wireType)
        {
            WriteUInt64((ulong)field << 3 | (uint)wireType);
        }

        /// <summary>Begins a piece that is preceded by its length; what it returns goes to <see cref="End"/>.</summary>
        public int Begin()
        {
            Reserve(1);
            return ++position;
        }

        /// <summary>Ends a piece: puts its length before it. One byte was kept free; a longer piece moves.</summary>
        public void End(int start)
        {
            int length = position - start;
            int extra = VarintSize((ulong)length) - 1;
            Reserve(extra);
            if (extra > 0) Buffer.BlockCopy(buffer, start, buffer, start + extra, length);
            position = start - 1;
            WriteUInt64((ulong)length);
            position += length;
        }

        /// <summary>Writes a message with its length.</summary>
        public void WriteMessage(IMessage message)
        {
            if (message == null) throw new ArgumentNullException(nameof(message), "a list of messages holds null");
            int start = Begin();
            message.WriteTo(this);
            End(start);
        }

        /// <summary>Writes a varint.</summary>
        public void WriteUInt64(ulong value)
        {
            Reserve(10);
            while (value >= 0x80)
            {
                buffer[position++] = (byte)(value | 0x80);
                value >>= 7;
            }
            buffer[position++] = (byte)value;
        }

        /// <summary>Writes an int64.</summary>
        public void WriteInt64(long value)
        {
            WriteUInt64(unchecked((ulong)value));
        }

        /// <summary>Writes an int32 or an enum; a negative one takes ten bytes, as protobuf says.</summary>
        public void WriteInt32(int value)
        {
            WriteInt64(value);
        }

        /// <summary>Writes a uint32.</summary>
        public void WriteUInt32(uint value)
        {
            WriteUInt64(value);
        }

        /// <summary>Writes a bool.</summary>
        public void WriteBool(bool value)
        {
            WriteUInt64(value ? 1UL : 0UL);
        }

        /// <summary>Writes a float.</summary>
        public void WriteFloat(float value)
        {
            WriteFixed(BitConverter.ToUInt32(BitConverter.GetBytes(value), 0), 4);
        }

        /// <summary>Writes a double.</summary>
        public void WriteDouble(double value)
        {
            WriteFixed(unchecked((ulong)BitConverter.DoubleToInt64Bits(value)), 8);
        }

        /// <summary>Writes text with its length.</summary>
        /// <exception cref="ArgumentException">The text is no valid Unicode.</exception>
        public void WriteString(string value)
        {
            WriteBytes(Utf8.GetBytes(value));
        }

        /// <summary>Writes bytes with their length.</summary>
        public void WriteBytes(byte[] value)
        {
            WriteUInt64((ulong)value.Length);
            Reserve(value.Length);
            Buffer.BlockCopy(value, 0, buffer, position, value.Length);
            position += value.Length;
        }

        private void WriteFixed(ulong value, int size)
        {
            Reserve(size);
            for (int i = 0; i < size; i++) buffer[position++] = (byte)(value >> (8 * i));
        }

        private void Reserve(int size)
        {
            if (buffer.Length - position >= size) return;
            Array.Resize(ref buffer, checked(Math.Max(position + size, 2 * buffer.Length)));
        }

        private static int VarintSize(ulong value)
        {
            int size = 1;
            while ((value >>= 7) != 0) size++;
            return size;
        }
    }
}
