"""A round as an OpenTelemetry trace: one span, and one below it for each stage."""

from __future__ import annotations

from importlib.util import find_spec

from fedguard.server.watch import StopWatch
from fedguard.types import RoundReport

__all__ = ["set_up", "trace_round"]

NANO = 1_000_000_000


def set_up(federation: str) -> None:
    """Send spans where OTEL_EXPORTER_OTLP_ENDPOINT and its like say. Needs fedguard[otel]."""
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    own = Resource.create({"service.name": "fedguard", "fedguard.federation": federation})
    provider = TracerProvider(resource=own)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


def trace_round(report: RoundReport, watch: StopWatch) -> None:
    """Tell of a round that is committed; nothing without OpenTelemetry."""
    if find_spec("opentelemetry") is None:
        return
    from opentelemetry import trace

    tracer = trace.get_tracer("fedguard")
    at = int(watch.began * NANO)
    whole = tracer.start_span(
        "round",
        start_time=at,
        attributes={
            "fedguard.round": report.round,
            "fedguard.defence": report.defence,
            "fedguard.held": report.held or "",
            "fedguard.admitted": len(report.admitted),
            "fedguard.refused": len(report.refused),
            "fedguard.suspected": len(report.suspects),
        },
    )
    below = trace.set_span_in_context(whole)
    for stage, seconds in watch.laps.items():
        span = tracer.start_span(stage, context=below, start_time=at)
        at += int(seconds * NANO)
        span.end(at)
    whole.end(at)
