using System;
using System.IO;
using System.Security.Cryptography;
using Npcmeta.V1;
using Npcmeta.Wire;

namespace Npcmeta
{
    /// <summary>Writes the parts of an asset one after the other and holds them against the header.</summary>
    internal sealed class AssetDownload : IDisposable
    {
        private readonly SHA256 digest = SHA256.Create();
        private readonly Stream target;
        private AssetHeader header;
        private long size;

        /// <summary>Writes to <paramref name="target"/>, which stays open.</summary>
        public AssetDownload(Stream target)
        {
            this.target = target;
        }

        /// <summary>Takes the next part: first the header, then chunks.</summary>
        public void Add(FetchAssetResponse part)
        {
            if (header == null)
            {
                header = part.Header;
                if (header == null) throw Wrong("the asset begins without its header");
                return;
            }
            byte[] chunk = part.Chunk;
            if (chunk == null) throw Wrong("the asset has a part that is no chunk");
            size += chunk.Length;
            if (size > header.SizeBytes) throw Wrong("more than the announced " + header.SizeBytes + " bytes came");
            digest.TransformBlock(chunk, 0, chunk.Length, null, 0);
            target.Write(chunk, 0, chunk.Length);
        }

        /// <summary>The header, if all of the asset came as it was announced.</summary>
        public AssetHeader Finish()
        {
            if (header == null) throw Wrong("no asset came");
            digest.TransformFinalBlock(WireWriter.NoBytes, 0, 0);
            string found = BitConverter.ToString(digest.Hash).Replace("-", "").ToLowerInvariant();
            if (size != header.SizeBytes || found != header.Sha256)
            {
                string expected = header.SizeBytes + " bytes with digest " + header.Sha256;
                throw Wrong(size + " bytes with digest " + found + " came, expected " + expected);
            }
            return header;
        }

        /// <inheritdoc/>
        public void Dispose()
        {
            digest.Dispose();
        }

        private static RpcException Wrong(string message)
        {
            return new RpcException(StatusCode.DataLoss, message);
        }
    }
}
