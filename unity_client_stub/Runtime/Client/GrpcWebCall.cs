using System;
using System.Globalization;
using System.IO;
using System.Net;
using System.Threading;
using Npcmeta.Wire;

namespace Npcmeta
{
    /// <summary>One call in progress: sends its request when made, then hands out the answers.</summary>
    internal sealed class GrpcWebCall : IDisposable
    {
        private const string ContentType = "application/grpc-web+proto";
        private const string ContentTypes = "application/grpc-web";

        private readonly GrpcWebChannel channel;
        private readonly CancellationToken cancellation;
        private readonly CancellationTokenSource deadline;
        private readonly HttpWebRequest request;
        private HttpWebResponse response;
        private FrameReader frames;
        private bool ended;

        /// <summary>Sends <paramref name="message"/>; the answers are not waited for.</summary>
        public GrpcWebCall(GrpcWebChannel channel, string path, IMessage message, CancellationToken cancellation)
        {
            this.channel = channel;
            this.cancellation = cancellation;
            cancellation.ThrowIfCancellationRequested();
            request = NewRequest(path);
            deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
            deadline.Token.Register(request.Abort);
            deadline.CancelAfter(channel.Timeout);
            try
            {
                Guarded(() => Send(message));
            }
            catch
            {
                Dispose();
                throw;
            }
        }

        /// <summary>The next answer; null when the call ended well.</summary>
        public T Next<T>() where T : IMessage, new()
        {
            byte[] content = ended ? null : Guarded(NextContent);
            if (content == null) return default(T);
            try
            {
                return MessageBytes.Parse<T>(content);
            }
            catch (WireException wrong)
            {
                string message = "the answer is no " + typeof(T).Name + ": " + wrong.Message;
                throw new RpcException(StatusCode.Internal, message, null, wrong);
            }
        }

        /// <summary>Ends the call; an answer that is still coming is dropped with its connection.</summary>
        public void Dispose()
        {
            deadline.Dispose();
            if (!ended) request.Abort();
            if (response != null) response.Close();
        }

        private HttpWebRequest NewRequest(string path)
        {
            var made = (HttpWebRequest)WebRequest.Create(channel.Server + path);
            made.Method = "POST";
            made.ContentType = ContentType;
            made.Accept = ContentType;
            made.Headers["X-Grpc-Web"] = "1";
            if (channel.Timeout > TimeSpan.Zero) made.Headers["grpc-timeout"] = TimeoutHeader(channel.Timeout);
            if (!string.IsNullOrEmpty(channel.Token)) made.Headers["Authorization"] = "Bearer " + channel.Token;
            made.AllowAutoRedirect = false;
            made.Proxy = channel.Proxy;
            made.Timeout = System.Threading.Timeout.Infinite;  // `deadline` holds for the whole call instead
            made.ReadWriteTimeout = System.Threading.Timeout.Infinite;
            made.ServicePoint.UseNagleAlgorithm = false;
            made.ServicePoint.Expect100Continue = false;
            made.ServicePoint.ConnectionLimit = channel.MaxConnections;
            return made;
        }

        private static string TimeoutHeader(TimeSpan timeout)
        {
            double milliseconds = Math.Max(1, Math.Min(timeout.TotalMilliseconds, 99999999));
            return milliseconds.ToString("0", CultureInfo.InvariantCulture) + "m";
        }

        private byte[] Send(IMessage message)
        {
            byte[] content = message.ToBytes();
            var frame = new byte[5 + content.Length];
            for (int i = 0; i < 4; i++) frame[1 + i] = (byte)(content.Length >> (24 - 8 * i));
            Buffer.BlockCopy(content, 0, frame, 5, content.Length);
            request.ContentLength = frame.Length;
            using (Stream body = request.GetRequestStream()) body.Write(frame, 0, frame.Length);
            return frame;
        }

        private byte[] NextContent()
        {
            if (response == null) Open();
            Frame frame = frames.Read();
            if (frame.Content != null && !frame.IsTrailers) return frame.Content;
            if (frame.IsTrailers && frames.Read().Content != null)
            {
                throw new RpcException(StatusCode.Internal, "something follows the end of the answer");
            }
            ended = true;
            bool isSaid = frame.IsTrailers
                ? CallStatus.Check(CallStatus.ParseTrailers(frame.Content))
                : CallStatus.Check(CallStatus.FromHeaders(response.Headers));
            if (!isSaid)
            {
                throw new RpcException(StatusCode.Unavailable, "the answer ended without saying how the call went");
            }
            return null;
        }

        private void Open()
        {
            response = (HttpWebResponse)request.GetResponse();
            string type = response.ContentType ?? "";
            bool isGrpcWeb = type.StartsWith(ContentTypes, StringComparison.Ordinal);
            if (response.StatusCode != HttpStatusCode.OK || !isGrpcWeb) throw NotGrpcWeb(response);
            frames = new FrameReader(response.GetResponseStream(), channel.MaxMessageBytes);
        }

        /// <summary>Lets only RpcException out, and cancellation as what it is.</summary>
        private T Guarded<T>(Func<T> work)
        {
            try
            {
                return work();
            }
            catch (RpcException)
            {
                throw;
            }
            catch (Exception e) when (deadline.IsCancellationRequested)
            {
                cancellation.ThrowIfCancellationRequested();
                string seconds = channel.Timeout.TotalSeconds.ToString(CultureInfo.InvariantCulture);
                string message = channel.Server + " did not answer within " + seconds + " seconds";
                throw new RpcException(StatusCode.DeadlineExceeded, message, null, e);
            }
            catch (WebException e) when (e.Response is HttpWebResponse)
            {
                using (var refused = (HttpWebResponse)e.Response) throw NotGrpcWeb(refused);
            }
            catch (Exception e) when (e is WebException || e is IOException || e is ObjectDisposedException)
            {
                string message = "no answer from " + channel.Server + ": " + e.Message;
                throw new RpcException(StatusCode.Unavailable, message, null, e);
            }
        }

        private RpcException NotGrpcWeb(HttpWebResponse answer)
        {
            CallStatus.Check(CallStatus.FromHeaders(answer.Headers));
            string found = "HTTP " + (int)answer.StatusCode + " with \"" + answer.ContentType + "\"";
            string message = channel.Server + " answered " + found + ", expected gRPC-Web; is this the server's HTTP port?";
            return new RpcException(CallStatus.FromHttp(answer.StatusCode), message);
        }
    }
}
