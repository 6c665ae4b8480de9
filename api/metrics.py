"""Metrics: this program's latencies, and what the other programs counted, as Prometheus text.

The other programs serve no HTTP. They leave their counts in the `state` of their heartbeat, and any number of apis shows the same:

- a number becomes `sitewatch_<program>_<key>`, a counter when the key ends in `_total`, else a gauge;
- an object of numbers becomes one series a member, with the label `reason`, `quantile` or `of`.
"""

from collections.abc import Iterator, Mapping, Sequence
from time import perf_counter
from typing import Any

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.stream import Hub
from store.figures import ProgramRow

BUCKETS_S = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
LABELS = {"rejected_total": "reason"}
QUANTILES = ("p50", "p90", "p95", "p99")


class Metrics:
    """What this process measures of itself."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.latency = Histogram(
            "sitewatch_api_request_seconds",
            "Time from a request's arrival to the end of its answer; live streams are not counted",
            ["method", "route", "status"],
            buckets=BUCKETS_S,
            registry=self.registry,
        )


class Timing:
    """Middleware that measures every answer by its route; the route and not the path, or every id would be a series."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == "/v1/live":
            await self._app(scope, receive, send)
            return
        began, status = perf_counter(), 500

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.latency.labels(scope["method"], route, str(status)).observe(perf_counter() - began)


def expose(metrics: Metrics, hub: Hub, programs: Sequence[ProgramRow] | None, rejects_open: Mapping[str, int]) -> bytes:
    """All of it. Without a database the programs are left out, and `sitewatch_database_up` says why."""
    others = CollectorRegistry()
    others.register(_Others(hub, programs, rejects_open))
    return generate_latest(metrics.registry) + generate_latest(others)


class _Others:
    def __init__(self, hub: Hub, programs: Sequence[ProgramRow] | None, rejects_open: Mapping[str, int]) -> None:
        self._hub, self._programs, self._rejects_open = hub, programs, rejects_open

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("sitewatch_database_up", "Whether the database answers", 0 if self._programs is None else 1)
        yield GaugeMetricFamily("sitewatch_api_stream_readers", "Clients of the live stream", self._hub.readers)
        yield CounterMetricFamily("sitewatch_api_stream_batches", "Batches sent to the live stream", self._hub.batches_total)
        yield CounterMetricFamily("sitewatch_api_stream_sent_away", "Clients that were too slow", self._hub.sent_away_total)
        waiting = GaugeMetricFamily("sitewatch_rejects_open", "Rejects that nobody has mended", labels=["reason"])
        for reason, count in self._rejects_open.items():
            waiting.add_metric([reason], count)
        yield waiting
        yield from _programs(self._programs or ())


def _programs(programs: Sequence[ProgramRow]) -> Iterator[Metric]:
    silence = GaugeMetricFamily("sitewatch_program_silent_seconds", "Time since a program's last heartbeat", labels=["program"])
    started = GaugeMetricFamily("sitewatch_program_start_time_seconds", "When a program was started", labels=["program"])
    families: dict[str, Metric] = {}
    for row in programs:
        silence.add_metric([row.name], max(0.0, row.silent_s))
        started.add_metric([row.name], row.started_at.timestamp())
        for key, value in row.state.items():
            _add(families, row.name, key, value)
    yield silence
    yield started
    yield from families.values()


def _add(families: dict[str, Metric], program: str, key: str, value: Any) -> None:
    members = value if isinstance(value, dict) else {"": value}
    numbers = {str(name): float(found) for name, found in members.items() if isinstance(found, int | float)}
    if not numbers or not key.isidentifier():
        return
    label = _label(key, numbers) if isinstance(value, dict) else None
    kind = program.partition("-")[0].partition(":")[0]
    name = f"sitewatch_{kind}_{key}"
    if name not in families:
        family = CounterMetricFamily if key.endswith("_total") else GaugeMetricFamily
        families[name] = family(name, f"As {kind} counted it", labels=["program", *([label] if label else [])])
    for member, number in numbers.items():
        families[name].add_metric([program, member] if label else [program], number)  # type: ignore[attr-defined]


def _label(key: str, members: dict[str, float]) -> str:
    if key in LABELS:
        return LABELS[key]
    return "quantile" if set(members) <= set(QUANTILES) else "of"
