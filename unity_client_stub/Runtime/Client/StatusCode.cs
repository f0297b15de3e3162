namespace Npcmeta
{
    /// <summary>gRPC's status codes.</summary>
    public enum StatusCode
    {
        /// <summary>No error.</summary>
        OK = 0,
        /// <summary>The caller took the call back.</summary>
        Cancelled = 1,
        /// <summary>An error without a better name.</summary>
        Unknown = 2,
        /// <summary>The request is wrong, whatever the state of the server.</summary>
        InvalidArgument = 3,
        /// <summary>Time was up.</summary>
        DeadlineExceeded = 4,
        /// <summary>There is no such thing.</summary>
        NotFound = 5,
        /// <summary>There is such a thing already.</summary>
        AlreadyExists = 6,
        /// <summary>The caller may not.</summary>
        PermissionDenied = 7,
        /// <summary>Too much: of members, rows, examples or bytes.</summary>
        ResourceExhausted = 8,
        /// <summary>The state of the server does not allow it.</summary>
        FailedPrecondition = 9,
        /// <summary>Somebody else was there at the same time.</summary>
        Aborted = 10,
        /// <summary>Past the end of what there is.</summary>
        OutOfRange = 11,
        /// <summary>The server has no such method.</summary>
        Unimplemented = 12,
        /// <summary>A fault of the server, or an answer that cannot be read.</summary>
        Internal = 13,
        /// <summary>Nobody answers now; try again.</summary>
        Unavailable = 14,
        /// <summary>What came is not what was announced.</summary>
        DataLoss = 15,
        /// <summary>The caller did not say who it is.</summary>
        Unauthenticated = 16,
    }
}
