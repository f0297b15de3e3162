"""A span for each call, for OpenTelemetry (extra `otel`), of which nothing is imported without --otlp-endpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol


class Span(Protocol):
    """What is said of a call at its end."""

    def end(self, reason: str) -> None:
        """Ends the span, with the reason of the call's error or with none."""


Begin = Callable[[str, Mapping[str, str], Mapping[str, str]], Span]
"""Begins a span: from the call's path, its headers (which may name the client's own span) and facts about it."""


def exporting(endpoint: str) -> tuple[Begin, Callable[[], None]]:
    """What begins spans that go to an OTLP/HTTP endpoint, and what sends those that wait and ends it.

    Raises:
        ValueError: If OpenTelemetry is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise ValueError("--otlp-endpoint needs OpenTelemetry: pip install 'npcmeta[otel]'") from error
    provider = TracerProvider(resource=Resource.create({"service.name": "npcmeta"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint)))
    return beginning(provider), provider.shutdown


def beginning(provider: Any) -> Begin:
    """What begins spans with a tracer provider."""
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    tracer, propagator = provider.get_tracer("npcmeta"), TraceContextTextMapPropagator()

    class Started:
        def __init__(self, span: Any) -> None:
            self._span = span

        def end(self, reason: str) -> None:
            if reason:
                self._span.set_status(trace.Status(trace.StatusCode.ERROR, reason))
            self._span.end()

    def begin(path: str, headers: Mapping[str, str], facts: Mapping[str, str]) -> Span:
        around = propagator.extract(dict(headers))
        return Started(tracer.start_span(path, around, trace.SpanKind.SERVER, attributes=dict(facts)))

    return begin
