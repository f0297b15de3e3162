using System;
using System.IO;
using System.Linq;
using System.Threading;
using Npcmeta.V1;

namespace Npcmeta
{
    /// <summary>Assets into files.</summary>
    public static class AssetFiles
    {
        /// <summary>
        /// Fetches an asset into <paramref name="folder"/> under the name that the server gives it. The file appears
        /// only when all of it is there and its digest is right; one of the same name is replaced.
        /// </summary>
        /// <returns>The file's path.</returns>
        public static string FetchAssetToFolder(
            this NpcmetaClient client, string name, string folder, CancellationToken cancellation = default(CancellationToken))
        {
            Directory.CreateDirectory(folder);
            string part = Path.Combine(folder, Guid.NewGuid().ToString("N") + ".part");
            try
            {
                AssetHeader header;
                using (FileStream file = File.Create(part)) header = client.FetchAsset(name, file, cancellation);
                string path = Path.Combine(folder, CheckedName(header.FileName));
                File.Delete(path);
                File.Move(part, path);
                return path;
            }
            finally
            {
                File.Delete(part);
            }
        }

        // The name comes from elsewhere: it must not lead out of the folder.
        private static string CheckedName(string name)
        {
            if (name.Length > 0 && name[0] != '.' && name.All(IsPlain)) return name;
            string message = "the server names the file \"" + name + "\", expected a plain file name";
            throw new RpcException(StatusCode.DataLoss, message);
        }

        private static bool IsPlain(char c)
        {
            return c < 128 && (char.IsLetterOrDigit(c) || c == '.' || c == '_' || c == '-');
        }
    }
}
