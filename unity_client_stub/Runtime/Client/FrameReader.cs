using System.IO;

namespace Npcmeta
{
    /// <summary>One frame of a gRPC-Web answer.</summary>
    internal struct Frame
    {
        /// <summary>What is in it.</summary>
        public byte[] Content;

        /// <summary>Whether it holds the trailers, which end the answer.</summary>
        public bool IsTrailers;
    }

    /// <summary>Takes the frames of gRPC-Web (a flag, four bytes of length, the content) off a stream.</summary>
    internal sealed class FrameReader
    {
        private const int HeadSize = 5;
        private const byte CompressedFlag = 0x01, TrailersFlag = 0x80;

        private readonly Stream stream;
        private readonly int maxBytes;

        /// <summary>Reads from <paramref name="stream"/> frames of at most <paramref name="maxBytes"/>.</summary>
        public FrameReader(Stream stream, int maxBytes)
        {
            this.stream = stream;
            this.maxBytes = maxBytes;
        }

        /// <summary>The next frame; without content at the end of the stream.</summary>
        public Frame Read()
        {
            var head = new byte[HeadSize];
            int got = Fill(head);
            if (got == 0) return new Frame();
            if (got < HeadSize) throw Cut();
            if ((head[0] & CompressedFlag) != 0) throw Compressed();
            uint length = (uint)head[1] << 24 | (uint)head[2] << 16 | (uint)head[3] << 8 | head[4];
            if (length > maxBytes) throw TooLong(length);
            var content = new byte[length];
            if (Fill(content) < content.Length) throw Cut();
            return new Frame { Content = content, IsTrailers = (head[0] & TrailersFlag) != 0 };
        }

        private int Fill(byte[] target)
        {
            int filled = 0;
            while (filled < target.Length)
            {
                int got = stream.Read(target, filled, target.Length - filled);
                if (got <= 0) break;
                filled += got;
            }
            return filled;
        }

        private RpcException TooLong(uint length)
        {
            string message = "a message of " + length + " bytes came, at most " + maxBytes + " are accepted";
            return new RpcException(StatusCode.ResourceExhausted, message + "; raise MaxMessageBytes");
        }

        private static RpcException Compressed()
        {
            return new RpcException(StatusCode.Internal, "the answer is compressed, plain was asked for");
        }

        private static RpcException Cut()
        {
            return new RpcException(StatusCode.Unavailable, "the answer was cut off in the middle of a message");
        }
    }
}
