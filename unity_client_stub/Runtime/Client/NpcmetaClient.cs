using System;
using System.Collections.Generic;
using System.IO;
using System.Threading;
using Npcmeta.V1;
using Npcmeta.WellKnown;

namespace Npcmeta
{
    /// <summary>
    /// The server's methods. Each blocks until it is answered and throws <see cref="RpcException"/> when it fails, or
    /// OperationCanceledException when the caller took it back.
    /// </summary>
    public sealed class NpcmetaClient
    {
        /// <summary>A client of the server at, for example, "http://127.0.0.1:8080".</summary>
        public NpcmetaClient(string server) : this(new GrpcWebChannel(server))
        {
        }

        /// <summary>A client that calls through <paramref name="channel"/>.</summary>
        public NpcmetaClient(GrpcWebChannel channel)
        {
            Channel = channel;
        }

        /// <summary>What calls go through; holds the timeout and the limits.</summary>
        public GrpcWebChannel Channel { get; }

        /// <summary>All archetypes that the server offers.</summary>
        public List<Archetype> ListArchetypes(CancellationToken cancellation = default(CancellationToken))
        {
            var all = new List<Archetype>();
            AllPages(token =>
            {
                var request = new ListArchetypesRequest { PageToken = token };
                string path = ArchetypeServicePaths.ListArchetypes;
                ListArchetypesResponse page = Channel.Unary<ListArchetypesResponse>(path, request, cancellation);
                all.AddRange(page.Archetypes);
                return page.NextPageToken;
            });
            return all;
        }

        /// <summary>One archetype, "archetypes/{archetype}".</summary>
        public Archetype GetArchetype(string name, CancellationToken cancellation = default(CancellationToken))
        {
            var request = new GetArchetypeRequest { Name = name };
            return Channel.Unary<Archetype>(ArchetypeServicePaths.GetArchetype, request, cancellation);
        }

        /// <summary>Makes an NPC. With a request id the call can be made again without making two.</summary>
        public Npc CreateNpc(CreateNpcRequest request, CancellationToken cancellation = default(CancellationToken))
        {
            return Channel.Unary<Npc>(NpcServicePaths.CreateNpc, request, cancellation);
        }

        /// <summary>One NPC, "npcs/{npc}".</summary>
        public Npc GetNpc(string name, CancellationToken cancellation = default(CancellationToken))
        {
            return Channel.Unary<Npc>(NpcServicePaths.GetNpc, new GetNpcRequest { Name = name }, cancellation);
        }

        /// <summary>All NPCs, or those of one archetype.</summary>
        public List<Npc> ListNpcs(string archetype = "", CancellationToken cancellation = default(CancellationToken))
        {
            var all = new List<Npc>();
            AllPages(token =>
            {
                var request = new ListNpcsRequest { Archetype = archetype, PageToken = token };
                ListNpcsResponse page = Channel.Unary<ListNpcsResponse>(NpcServicePaths.ListNpcs, request, cancellation);
                all.AddRange(page.Npcs);
                return page.NextPageToken;
            });
            return all;
        }

        /// <summary>Makes an NPC that begins as another one is; with a request id the call can be made again.</summary>
        public Npc CloneNpc(CloneNpcRequest request, CancellationToken cancellation = default(CancellationToken))
        {
            return Channel.Unary<Npc>(NpcServicePaths.CloneNpc, request, cancellation);
        }

        /// <summary>Makes an NPC of a file, as FetchAsset gives it for "npcs/{npc}/assets/npc".</summary>
        public Npc ImportNpc(ImportNpcRequest request, CancellationToken cancellation = default(CancellationToken))
        {
            return Channel.Unary<Npc>(NpcServicePaths.ImportNpc, request, cancellation);
        }

        /// <summary>Changes what people call an NPC; with an etag, only if the NPC is still as it was then.</summary>
        public Npc RenameNpc(
            string name, string displayName, string etag = "", CancellationToken cancellation = default(CancellationToken))
        {
            var request = new UpdateNpcRequest { Npc = new Npc { Name = name, DisplayName = displayName }, Etag = etag };
            request.UpdateMask = new FieldMask();
            request.UpdateMask.Paths.Add("display_name");
            return Channel.Unary<Npc>(NpcServicePaths.UpdateNpc, request, cancellation);
        }

        /// <summary>An NPC's revisions, newest first.</summary>
        public List<Revision> ListRevisions(string npc, CancellationToken cancellation = default(CancellationToken))
        {
            var all = new List<Revision>();
            AllPages(token =>
            {
                var request = new ListRevisionsRequest { Parent = npc, PageToken = token };
                string path = NpcServicePaths.ListRevisions;
                ListRevisionsResponse page = Channel.Unary<ListRevisionsResponse>(path, request, cancellation);
                all.AddRange(page.Revisions);
                return page.NextPageToken;
            });
            return all;
        }

        /// <summary>Lets a kept revision of an NPC act again, "npcs/{npc}/revisions/{number}".</summary>
        public Npc RollbackNpc(
            string name, string revision, string etag = "", CancellationToken cancellation = default(CancellationToken))
        {
            var request = new RollbackNpcRequest { Name = name, Revision = revision, Etag = etag };
            return Channel.Unary<Npc>(NpcServicePaths.RollbackNpc, request, cancellation);
        }

        /// <summary>Deletes an NPC; with an etag, only if the NPC is still as it was then.</summary>
        public void DeleteNpc(string name, string etag = "", CancellationToken cancellation = default(CancellationToken))
        {
            var request = new DeleteNpcRequest { Name = name, Etag = etag };
            Channel.Unary<Empty>(NpcServicePaths.DeleteNpc, request, cancellation);
        }

        /// <summary>Stores a clip without adapting; <see cref="AdaptOnce"/> can then name it.</summary>
        public Demonstration CreateDemonstration(
            CreateDemonstrationRequest request, CancellationToken cancellation = default(CancellationToken))
        {
            return Channel.Unary<Demonstration>(NpcServicePaths.CreateDemonstration, request, cancellation);
        }

        /// <summary>Adapts an NPC; <paramref name="onEvent"/> sees each event as it comes, on this thread.</summary>
        /// <returns>What was committed, which is on disk and acts from now on.</returns>
        public Committed AdaptOnce(
            AdaptOnceRequest request,
            Action<AdaptResponse> onEvent = null,
            CancellationToken cancellation = default(CancellationToken))
        {
            Committed committed = null;
            string path = AdaptServicePaths.AdaptOnce;
            foreach (AdaptResponse happened in Channel.Stream<AdaptResponse>(path, request, cancellation))
            {
                if (onEvent != null) onEvent(happened);
                committed = happened.Committed ?? committed;
            }
            if (committed == null) throw new RpcException(StatusCode.Internal, "the adaptation ended without a commit");
            return committed;
        }

        /// <summary>Lets NPCs of one archetype decide, one for each row of the observations.</summary>
        public ActOnceResponse ActOnce(ActOnceRequest request, CancellationToken cancellation = default(CancellationToken))
        {
            return Channel.Unary<ActOnceResponse>(ActServicePaths.ActOnce, request, cancellation);
        }

        /// <summary>Writes an asset to <paramref name="target"/>, and checks its size and digest.</summary>
        public AssetHeader FetchAsset(string name, Stream target, CancellationToken cancellation = default(CancellationToken))
        {
            using (var download = new AssetDownload(target))
            {
                var request = new FetchAssetRequest { Name = name };
                string path = AssetServicePaths.FetchAsset;
                foreach (FetchAssetResponse part in Channel.Stream<FetchAssetResponse>(path, request, cancellation))
                {
                    download.Add(part);
                }
                return download.Finish();
            }
        }

        private static void AllPages(Func<string, string> fetch)
        {
            string token = "";
            do
            {
                string next = fetch(token);
                bool repeats = next.Length > 0 && next == token;
                if (repeats) throw new RpcException(StatusCode.Internal, "a page names itself as the next one");
                token = next;
            }
            while (token.Length > 0);
        }
    }
}
