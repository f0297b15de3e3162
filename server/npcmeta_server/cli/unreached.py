"""Why a running server was not reached, in words that say what to do; libraries' own texts do not."""

from __future__ import annotations

NOBODY = (
    "no server answers there; start one with npcmeta serve, or name the HTTP port of one that runs: "
    "--server http://HOST:8080"
)
GRPC = "that looks like the gRPC port; name the HTTP port of npcmeta serve, 8080 unless --http-port says otherwise"
PLAIN = "what answers there speaks no TLS; use http:// if that is the HTTP port of npcmeta serve"
CLOSED = "it closed the connection without an answer; a server with TLS is reached by https://"
WANTS_CERTIFICATE = (
    "it closed the connection without an answer; a server with --tls-client-ca wants --client-certificate and "
    "--client-key of one that this authority signed, at its HTTP port"
)
IS_AUTHORITY = (
    "the server's certificate is an authority's, which cannot be a server's as well; make one that an authority signed "
    "(docs/operating.md shows how), and give the authority's with --ca"
)
STRANGER = "the server's certificate is signed by nobody who is known here; give its authority's with --ca FILE.pem"
OTHER_NAME = "the server's certificate is for other names; use one of them, or make a certificate for this one: "

CUT_OFF = ("onnection reset", "Broken pipe")
"""A server that refuses a client in TLS 1.3 may have gone before its reason is read."""

CAUSES = (
    ("http", ("tcp connect error", "Connection refused", "dns error", "[Errno -"), NOBODY),
    ("http", ("unexpected message", "invalid HTTP version", "stream error received", "\0"), GRPC),
    ("https", ("InvalidContentType", "WRONG_VERSION_NUMBER", "record layer failure"), PLAIN),
    ("http:", ("connection closed before", "Remote end closed", "onnection reset"), CLOSED),
    (
        "https",
        ("close_notify", "EOF occurred", "Remote end closed", "CertificateRequired", "CERTIFICATE_REQUIRED", *CUT_OFF),
        WANTS_CERTIFICATE,
    ),
    ("https", ("CaUsedAsEndEntity",), IS_AUTHORITY),
    ("https", ("UnknownIssuer", "unable to get local issuer", "self-signed certificate"), STRANGER),
)
"""How --server begins, what one of the libraries then says, and what it means."""


def why(server: str, said: str) -> str:
    """What a failure to reach a server means; as it was said, if that is not known."""
    for scheme, fragments, meaning in CAUSES:
        if server.startswith(scheme) and any(fragment in said for fragment in fragments):
            return meaning
    if "not valid for name" in said or "mismatch" in said:
        return OTHER_NAME + said.rpartition("invalid peer certificate: ")[2]
    return said
