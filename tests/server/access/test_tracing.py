"""Spans of calls, as a collector gets them."""

import http.server
import threading

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from npcmeta_server.access import tracing
from npcmeta_server.access.gate import Gate
from npcmeta_server.errors import ServiceError

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
ACT = "/npcmeta.v1.ActService/Act"


def test_calls_arrive_as_spans_below_those_of_their_clients() -> None:
    received: list[bytes] = []

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Collector) as collector:
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        begin, finish = tracing.exporting(f"http://127.0.0.1:{collector.server_port}/v1/traces")
        gate = Gate(None, 1, begin)
        with gate.admit(ACT, {"traceparent": f"00-{TRACE}-{PARENT}-01", "x-request-id": "frame-7"}):
            pass
        with pytest.raises(ServiceError), gate.admit(ACT, {}):
            raise ServiceError("NOT_IN_CAST", "there is nobody")
        finish()
        collector.shutdown()
        thread.join()
    sent = [ExportTraceServiceRequest.FromString(body) for body in received]
    good, bad = (span for each in sent for span in each.resource_spans[0].scope_spans[0].spans)
    assert (good.name, good.trace_id.hex(), good.parent_span_id.hex()) == (ACT, TRACE, PARENT)
    assert {a.key: a.value.string_value for a in good.attributes}["request_id"] == "frame-7"
    assert (bad.status.message, bad.parent_span_id) == ("NOT_IN_CAST", b"")
