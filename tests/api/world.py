"""One small world: a home, a worker, a lock, a visit, and what ingest and verify would have written about them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import psycopg
from psycopg.types.json import Jsonb

from geofence.outcome import Gap, Moment, Outcome, Seconds, Sentence, Span, Tally

SITE: dict[str, Any] = {
    "type": "Feature",
    "geometry": {"type": "Point", "coordinates": [24.9414, 60.1719]},
    "properties": {"name": "Mannerheimintie 5", "customer": "Aino", "timezone": "Europe/Helsinki", "radius_m": 40},
}
SQUARE = [[[116.3971, 39.9091], [116.3977, 39.9091], [116.3977, 39.9095], [116.3971, 39.9095], [116.3971, 39.9091]]]
POLYGON: dict[str, Any] = {
    "type": "Feature",
    "geometry": {"type": "Polygon", "coordinates": SQUARE},
    "properties": {"name": "Yard"},
}
WORKER: dict[str, Any] = {"name": "Wang Fang", "aliases": {"owntracks": "wang.fang/phone"}}
DEVICE: dict[str, Any] = {"site": "s-1", "kind": "lock"}
VISIT: dict[str, Any] = {
    "worker": "w-1",
    "site": "s-1",
    "service": "cleaning",
    "starts_at": "2026-11-20T08:00:00Z",
    "ends_at": "2026-11-20T10:00:00Z",
}
PLANS = {"/v1/sites/s-1": SITE, "/v1/workers/w-1": WORKER, "/v1/devices/lock-1": DEVICE, "/v1/visits/v-1": VISIT}
BULK = {
    f"{kind}s": [{"id": f"{name}", **body}]
    for kind, name, body in (
        ("site", "s-1", SITE),
        ("worker", "w-1", WORKER),
        ("device", "lock-1", DEVICE),
        ("visit", "v-1", VISIT),
    )
}
"""The same for one call, which is quicker."""
STARTS_AT = datetime(2026, 11, 20, 8, tzinfo=UTC)


def outcome(verdict: str = "verified", **changed: Any) -> Outcome:
    """What the engine might say of the visit."""
    start = STARTS_AT.timestamp()
    fields: dict[str, Any] = {
        "verdict": verdict,
        "findings": ("late_arrival",),
        "arrived_at": Moment(best=start + 700.45, earliest=start + 650, latest=start + 720),
        "left_at": Moment(best=start + 7200, earliest=start + 7100, latest=start + 7300),
        "on_site_s": Seconds(best=6500.0, lower=6400.0, upper=6600.0),
        "coverage": 0.96,
        "monitored_s": 6912.0,
        "expected_s": 7200.0,
        "gaps": (Gap(start=start, end=start + 288, cause="phone_offline"),),
        "presence": (Span(start=start, end=start + 700, state="off"), Span(start=start + 700, end=start + 7200, state="on")),
        "evidence": Tally(fixes=700, checks=2, device_events=3, statuses=1, flags={"mock": 1}),
        "explanation": Sentence(en="She was there.", zh="她在场。"),
        "engine": "1",
        "policy": 0,
    }
    return Outcome(**{**fields, **changed})


def judge(connection: psycopg.Connection, visit: str, found: Outcome, revision: int = 1) -> None:
    """Writes an outcome as verify does, with its coverage, for a visit that is planned."""
    document = msgspec.to_builtins(found)
    connection.execute(
        """
        insert into outcomes (visit, worker, site, service, starts_at, ends_at, verdict, findings, coverage, monitored_s,
                              expected_s, on_site_s, outcome, revision)
        select id, worker, site, service, starts_at, ends_at, %s, %s, %s, %s, %s, %s, %s, %s from visits where id = %s
        on conflict (visit) do update set verdict = excluded.verdict, outcome = excluded.outcome, revision = excluded.revision
        """,
        [
            found.verdict,
            list(found.findings),
            found.coverage,
            found.monitored_s,
            found.expected_s,
            found.on_site_s.best,
            Jsonb(document),
            revision,
            visit,
        ],
    )
    connection.execute(
        "insert into outcome_history (visit, revision, outcome, why) values (%s, %s, %s, 'first')",
        [visit, revision, Jsonb(document)],
    )
    connection.execute(
        """
        insert into coverage (visit, worker, site, service, starts_at, monitored_s, expected_s, share, phone_offline)
        select id, worker, site, service, starts_at, %s, %s, %s, %s from visits where id = %s
        on conflict (visit) do nothing
        """,
        [found.monitored_s, found.expected_s, found.coverage, found.expected_s - found.monitored_s, visit],
    )


def locate(connection: psycopg.Connection, worker: str, at: datetime = STARTS_AT, lon: float = 24.9414) -> None:
    """Writes a newest position as verify does."""
    connection.execute(
        """
        insert into positions (worker, source, at, received_at, lon, lat, accuracy_m, speed_mps, flags, visit, site,
                               presence, online)
        values (%(worker)s, %(worker)s, %(at)s, %(at)s, %(lon)s, 60.1719, 12.5, 1.2, '{mock}', 'v-1', 's-1', 'on', true)
        on conflict (worker) do update set at = excluded.at, lon = excluded.lon
        """,
        {"worker": worker, "at": at, "lon": lon},
    )


def fix(connection: psycopg.Connection, source: str, seconds: float, **changed: Any) -> None:
    """Writes a fix as ingest does, so many seconds after the visit begins."""
    at = STARTS_AT + timedelta(seconds=seconds)
    fields = {"source": source, "at": at, "identity": 1, "received_at": at, "lon": 24.9414 + seconds * 1e-7, "lat": 60.1719}
    fields |= {"accuracy_m": 10.0, "epoch": 0, "seq": int(seconds) + 1, **changed}
    columns, values = ", ".join(fields), ", ".join(f"%({name})s" for name in fields)
    connection.execute(f"insert into fixes ({columns}) values ({values})", fields)


def changed(connection: psycopg.Connection, **lists: list[str]) -> int:
    """Writes a row of the stream's log as verify does, and returns its id."""
    columns = ", ".join(lists)
    values = ", ".join(f"%({name})s" for name in lists)
    with connection.transaction():
        row = connection.execute(f"insert into changes ({columns}) values ({values}) returning id", lists).fetchone()
        connection.execute("notify sitewatch_changes")
    assert row is not None
    return int(row[0])


def beat(connection: psycopg.Connection, states: dict[str, Any] | None = None, ago_s: float = 0.0) -> None:
    """Writes heartbeats as ingest and verify do."""
    said = {"ingest": {"connected": True, "received_total": 7, "rejected_total": {"malformed": 2}}, "verify": {"lag_s": 0.25}}
    for name, state in (said | (states or {})).items():
        connection.execute(
            """
            insert into programs (name, beat_at, started_at, state)
            values (%s, now() - make_interval(secs => %s), now() - interval '1 hour', %s)
            on conflict (name) do update set beat_at = excluded.beat_at, state = excluded.state
            """,
            [name, ago_s, Jsonb(state)],
        )
