using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Net;
using System.Text;
using Npcmeta.WellKnown;
using Npcmeta.Wire;

namespace Npcmeta
{
    /// <summary>How a call ended, as its trailers or headers say.</summary>
    internal static class CallStatus
    {
        private const string InfoType = "/google.rpc.ErrorInfo";

        /// <summary>The fields of a trailers frame: lines of "name: value".</summary>
        public static Dictionary<string, string> ParseTrailers(byte[] frame)
        {
            var fields = new Dictionary<string, string>();
            foreach (string line in Encoding.UTF8.GetString(frame).Split('\n'))
            {
                int colon = line.IndexOf(':');
                if (colon <= 0) continue;
                fields[line.Substring(0, colon).Trim().ToLowerInvariant()] = line.Substring(colon + 1).Trim();
            }
            return fields;
        }

        /// <summary>The fields of an answer that has headers only.</summary>
        public static Dictionary<string, string> FromHeaders(WebHeaderCollection headers)
        {
            return headers.AllKeys.ToDictionary(name => name.ToLowerInvariant(), name => headers[name]);
        }

        /// <summary>Throws what the fields say, unless they say that all went well. False: they say nothing.</summary>
        public static bool Check(Dictionary<string, string> fields)
        {
            string status, text, encoded;
            if (!fields.TryGetValue("grpc-status", out status)) return false;
            int number;
            bool isNumber = int.TryParse(status, NumberStyles.None, CultureInfo.InvariantCulture, out number);
            if (isNumber && number == 0) return true;
            StatusCode code = isNumber && number <= 16 ? (StatusCode)number : StatusCode.Unknown;
            Status details = fields.TryGetValue("grpc-status-details-bin", out encoded) ? Details(encoded) : null;
            string message = fields.TryGetValue("grpc-message", out text) ? PercentDecode(text) : "no message was given";
            throw new RpcException(code, message, Info(details));
        }

        /// <summary>The status code that stands for an HTTP one, where a proxy or another server answers.</summary>
        public static StatusCode FromHttp(HttpStatusCode http)
        {
            switch ((int)http)
            {
                case 400: return StatusCode.Internal;
                case 401: return StatusCode.Unauthenticated;
                case 403: return StatusCode.PermissionDenied;
                case 404: return StatusCode.Unimplemented;
                case 429: case 502: case 503: case 504: return StatusCode.Unavailable;
                default: return StatusCode.Unknown;
            }
        }

        private static string PercentDecode(string text)
        {
            var bytes = new MemoryStream();
            for (int i = 0; i < text.Length; i++)
            {
                byte code;
                string digits = text[i] == '%' && i + 2 < text.Length ? text.Substring(i + 1, 2) : "";
                if (byte.TryParse(digits, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out code))
                {
                    bytes.WriteByte(code);
                    i += 2;
                    continue;
                }
                byte[] plain = Encoding.UTF8.GetBytes(text.Substring(i, 1));
                bytes.Write(plain, 0, plain.Length);
            }
            return Encoding.UTF8.GetString(bytes.ToArray());
        }

        // Details are an extra: what cannot be read must not hide the error that they belong to.
        private static Status Details(string base64)
        {
            try
            {
                string bare = base64.TrimEnd('=');
                byte[] bytes = Convert.FromBase64String(bare + new string('=', -bare.Length & 3));
                return MessageBytes.Parse<Status>(bytes);
            }
            catch (Exception e) when (e is WireException || e is FormatException)
            {
                return null;
            }
        }

        private static ErrorInfo Info(Status details)
        {
            if (details == null) return null;
            Any info = details.Details.FirstOrDefault(any => any.TypeUrl.EndsWith(InfoType, StringComparison.Ordinal));
            try
            {
                return info == null ? null : MessageBytes.Parse<ErrorInfo>(info.Value);
            }
            catch (WireException)
            {
                return null;
            }
        }
    }
}
