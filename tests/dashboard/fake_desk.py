"""A small server that speaks the HTTP contract about an invented fleet, so that the page can be tested without the whole house.

It serves the dashboard's own files and JSON of the contract's shapes; `move` makes everybody step and tells the live stream,
`settle` verifies a visit, `cut_streams` drops every live connection. Run it alone to look at the page:

    python -m tests.dashboard.fake_desk 8099
"""

import json
import math
import random
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

STATIC = Path(__file__).parents[2] / "api" / "static"
KINDS = {".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
ZONE = "Europe/Helsinki"
HOUR = 3600.0
CAUSES = (
    "ingest_outage",
    "no_device",
    "permission_off",
    "phone_offline",
    "power_save",
    "poor_accuracy",
    "suspect",
    "delayed",
    "silent",
)
NAMES = (
    "Aino Virtanen",
    "李娜",
    "Mikael Korhonen",
    "王芳",
    "Sofia Lahti",
    "Omar Haddad",
    "陈静",
    "Elina Mäkinen",
    "Juhani Salo",
    "张伟",
)
PLACES = (
    "Kallio 4 B",
    "Punavuori 12",
    "Töölö 7 A",
    "阳光花园 3 号楼",
    "Vallila 21",
    "Herttoniemi 5",
    "Pasila 2 C",
    "Lauttasaari 9",
)

FINDINGS = {"partial": ["early_departure", "low_coverage"], "contradicted": ["no_show"], "unknown": ["low_coverage"]}
EXPLANATION = {
    "en": "On site for 1 h 22 min of 1 h 24 min planned, by 260 fixes and the lock; 7 min went unseen: the phone saved power.",
    "zh": "计划 1 小时 24 分，在场 1 小时 22 分，依据 260 次定位与门锁事件；手机省电期间有 7 分未监测到。",
}

Json = dict[str, Any]


class Fleet:
    """Invented sites, workers, visits and devices around Helsinki, and what has happened to them."""

    def __init__(self, workers: int, seed: int = 7) -> None:
        self.dice = random.Random(seed)
        self.now = time.time()
        self.lock = threading.Condition()
        self.events: list[tuple[int, str, Json]] = []
        self.workers = [f"w-{n:04}" for n in range(1, workers + 1)]
        self.sites = [self._site(n) for n in range(max(1, workers // 2))] if workers else []
        self.place = {worker: self._near(24.94, 60.18, 0.05) for worker in self.workers}
        self.ready = True
        self.rejects = [
            reject(3, "no_key", "owntracks/anna/phone", '{"_type": "encrypted", "data": "u1y1wQ=="}'),
            reject(2, "no_key", "owntracks/anna/phone", '{"_type": "encrypted", "data": "AAECAw=="}'),
            reject(1, "malformed", "sitewatch/v1/workers/w-0001/position", '<img src=x onerror="document.title=1">', times=40),
        ]
        self.visits = {visit["id"]: visit for worker in self.workers for visit in self._visits(worker)}
        self.alerts = self._alerts()

    def name(self, worker: str) -> str:
        n = int(worker.removeprefix("w-"))
        return NAMES[n % len(NAMES)] + ("" if n < len(NAMES) else f" {n}")

    def position(self, worker: str, at: float | None = None) -> Json:
        lon, lat = self.place[worker]
        n = int(worker.removeprefix("w-"))
        running = next((v for v in self.visits.values() if v["worker"] == worker and v["outcome"]["verdict"] == "pending"), None)
        presence = ("on", "on", "off", "unknown")[n % 4] if running else "unknown"
        seen_at = at if at is not None else time.time() - (n % 7) * (200 if n % 10 == 9 else 9)
        return point(
            lon,
            lat,
            worker=worker, name=self.name(worker), at=rfc3339(seen_at), received_at=rfc3339(seen_at + 1), accuracy_m=8 + n % 40,
            speed_mps=0.0 if presence == "on" else 4.2, heading_deg=(n * 37) % 360, battery=0.2 + (n % 8) / 10, flags=[],
            visit=running and running["id"], site=running and running["site"], presence=presence, online=n % 23 != 0,
        )  # fmt: skip

    def move(self) -> None:
        """Everybody takes a step of about thirty metres."""
        with self.lock:
            for worker, (lon, lat) in self.place.items():
                self.place[worker] = self._near(lon, lat, 0.0006)
                self._tell("position", self.position(worker, time.time()))
            self.lock.notify_all()

    def hire(self) -> str:
        """A worker who was planned after everything else, and who moves."""
        with self.lock:
            worker = f"w-{len(self.workers) + 1:04}"
            self.workers.append(worker)
            self.place[worker] = self._near(24.94, 60.18, 0.02)
            self._tell("position", self.position(worker, time.time()))
            self.lock.notify_all()
        return worker

    def settle(self, visit: str) -> None:
        """The visit turns from pending to verified."""
        with self.lock:
            self.visits[visit]["outcome"] |= {"verdict": "verified", "version": self.visits[visit]["outcome"]["version"] + 1}
            self._tell("visit", self.visits[visit])
            self.lock.notify_all()

    def alarm(self, alert: Json) -> None:
        with self.lock:
            self.alerts[alert["id"]] = alert
            self._tell("alert", alert)
            self.lock.notify_all()

    def stays(self) -> list[Json]:
        """One worker's unscheduled hour at a site, and a stop of hers at no known place."""
        if not self.workers:
            return []
        site, at = self.sites[0]["id"], self.now - 1800
        lon, lat = centre(self.sites[0])
        said: Json = {"worker": self.workers[0], "ongoing": False, "visit": None, "instead_of": None, "error_m": 9.0, "fixes": 60}
        hour: Json = {"kind": "unscheduled", "site": site, "sites": [site], "start_at": at, "end_at": at + 900}
        stop: Json = {"kind": "unknown_place", "site": None, "sites": [], "start_at": at + 1000, "end_at": at + 1600}
        for stay in (hour, stop):
            stay |= {**said, "duration_s": stay["end_at"] - stay["start_at"]}
            stay |= {name: rfc3339(stay[name]) for name in ("start_at", "end_at")}
        return [point(lon, lat, **stay) for stay in (hour, stop)]

    def track(self, visit: Json) -> Iterator[Json]:
        """A fix each twenty seconds, with a hole, a few flagged ones and an error that wanders."""
        site = next(site for site in self.sites if site["id"] == visit["site"])
        lon, lat = centre(site)
        start, end = epoch(visit["starts_at"]) - 900, min(epoch(visit["ends_at"]) + 900, time.time())
        dice = random.Random(visit["id"])
        east = north = 0.0
        for step in range(int((end - start) / 20)):
            at = start + step * 20
            east, north = 0.9 * east + dice.gauss(0, 3), 0.9 * north + dice.gauss(0, 3)
            away = max(0.0, epoch(visit["starts_at"]) + 120 - at, at - epoch(visit["ends_at"]) + 60) * 1.2
            if 0.42 < (at - start) / (end - start) < 0.5:
                continue
            flags = ["teleport"] if dice.random() < 0.04 else []
            yield point(
                lon + (east + away) / 55_000, lat + (north + away / 2) / 111_000, worker=visit["worker"], at=rfc3339(at),
                received_at=rfc3339(at + 1), accuracy_m=900 if flags else dice.choice([6, 9, 14, 35]), flags=flags,
            )  # fmt: skip

    def coverage(self, by: str) -> Json:
        keys = {
            "day": [datetime.fromtimestamp(self.now - n * 24 * HOUR, UTC).date().isoformat() for n in range(6, -1, -1)],
            "worker": self.workers[:40],
            "site": [site["id"] for site in self.sites[:40]],
            "service": ["cleaning", "elder_care", "child_care"],
        }[by]
        items = [{by: key, **self._sums(random.Random(key))} for key in keys]
        total: Json = {name: sum(item[name] for item in items) for name in ("visits", "monitored_s", "expected_s")}
        total |= {
            "time_coverage": total["monitored_s"] / total["expected_s"] if total["visits"] else None,
            "visit_coverage": 0.91,
            "gaps": {},
        }
        return {"target": 0.95, "total": total, "items": items, "next": None}

    def health(self) -> Json:
        """As /readyz tells it."""
        ok = {"state": "ok", "detail": "answers"}
        broker = ok if self.ready else {"state": "away", "detail": "ingest is not connected to it"}
        ingest = program(
            "ingest:one", connected=self.ready, connected_at=rfc3339(self.now), last_message_at=rfc3339(time.time() - 3)
        )
        ingest |= {"received_per_s": 1234.5, "lag_s": 0.04, "queue_depth": 7, "rejected": {"no_key": 2, "malformed": 40}}
        verify = program("verify") | {"lag_s": 0.3, "queue_depth": 0}
        counts: dict[str, int] = {}
        for one in self.rejects_of(None, is_open=True):
            counts[one["reason"]] = counts.get(one["reason"], 0) + 1
        parts = {"database": ok, "broker": broker, "ingest": ok, "verify": ok}
        return {"ready": self.ready, "parts": parts, "programs": [ingest, verify], "rejects_open": counts}

    def rejects_of(self, reason: str | None, *, is_open: bool) -> Iterator[Json]:
        for one in self.rejects:
            if reason in (None, one["reason"]) and (one["replayed_at"] is None) is is_open:
                yield one

    def want(self, number: int | None, query: dict[str, list[str]]) -> Json:
        """One, or all of a reason, are wanted again."""
        reason = query.get("reason", [None])[0]
        chosen = [one for one in self.rejects_of(reason, is_open=True) if number in (None, one["id"])]
        for one in chosen:
            one["replay"]["wanted_at"] = rfc3339(time.time())
        return chosen[0] if number is not None else {"wanted": len(chosen), "more": False}

    def close(self, number: int, why: str) -> Json:
        """A person can make nothing of it."""
        one = next(one for one in self.rejects if one["id"] == number)
        one |= {"replayed_at": rfc3339(time.time()), "closed_why": why, "replay": {**one["replay"], "outcome": "closed"}}
        return one

    def read_again(self) -> None:
        """What ingest does about it: what lacked a key is opened, the rest stays."""
        for one in self.rejects:
            if one["replay"]["wanted_at"]:
                taken = one["reason"] == "no_key"
                one["replay"] = {
                    "wanted_at": None,
                    "read_at": rfc3339(time.time()),
                    "outcome": "evidence" if taken else "rejected",
                }
                one["replayed_at"] = rfc3339(time.time()) if taken else None

    def _sums(self, dice: random.Random) -> Json:
        gaps = {cause: round(dice.expovariate(1 / 500)) for cause in CAUSES}
        expected = 5 * HOUR * dice.randint(3, 9)
        monitored = expected - sum(gaps.values())
        share = monitored / expected
        return {"visits": dice.randint(4, 30), "time_coverage": share, "visit_coverage": min(1.0, share + dice.gauss(-0.03, 0.02)), "monitored_s": monitored, "expected_s": expected, "gaps": gaps}  # fmt: skip  # noqa: E501

    def _near(self, lon: float, lat: float, spread: float) -> tuple[float, float]:
        return lon + self.dice.gauss(0, spread), lat + self.dice.gauss(0, spread / 2)

    def _site(self, n: int) -> Json:
        lon, lat = self._near(24.94, 60.185, 0.04)
        properties = {
            "name": PLACES[n % len(PLACES)] + ("" if n < len(PLACES) else f" / {n}"),
            "customer": "Helsingin kotipalvelu",
            "timezone": ZONE,
        }
        if n % 3:
            return {
                "type": "Feature",
                "id": f"site-{n:03}",
                "geometry": {"type": "Point", "coordinates": [lon, lat]},
                "properties": {**properties, "radius_m": 40},
            }
        ring = [[lon + x * 0.0006, lat + y * 0.0003] for x, y in ((-1, -1), (1, -1), (1, 0.2), (0, 1), (-1, 1), (-1, -1))]
        return {
            "type": "Feature",
            "id": f"site-{n:03}",
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "properties": properties,
        }

    def _visits(self, worker: str) -> Iterator[Json]:
        n = int(worker.removeprefix("w-"))
        verdicts = ("verified", "verified", "partial", "unknown", "verified", "contradicted", "verified")
        for k, hours in enumerate((-5.5, -3.0, -0.7, 1.5)):
            starts = self.now + (hours + (n % 5) * 0.1) * HOUR
            site = self.sites[(n * 3 + k) % len(self.sites)]["id"]
            verdict = "pending" if k >= 2 else verdicts[(n + k) % len(verdicts)]
            plan = {
                "id": f"v-{worker}-{k}",
                "worker": worker,
                "site": site,
                "service": ("cleaning", "elder_care", "child_care")[n % 3],
            }
            ends = starts + 1.4 * HOUR
            yield {**plan, "starts_at": rfc3339(starts), "ends_at": rfc3339(ends), "outcome": self._outcome(verdict, starts, ends)}

    def _outcome(self, verdict: str, starts: float, ends: float) -> Json:
        begun = starts < self.now
        until = min(ends, self.now)
        there = begun and verdict != "contradicted"
        hole = (starts + 0.42 * (ends - starts), min(until, starts + 0.5 * (ends - starts)))
        gaps = [span(*hole, cause="power_save")] if begun and hole[1] > hole[0] and verdict != "contradicted" else []
        if verdict == "unknown":
            gaps.append(span(starts + 0.6 * (ends - starts), ends, cause="phone_offline"))
        missing = sum(epoch(gap["end"]) - epoch(gap["start"]) for gap in gaps)
        on_site = max(0.0, until - starts - 120) if there else 0.0
        presence = (
            [span(starts - 900, starts + 120, state="off"), span(starts + 120, until, state="on" if there else "off")]
            if begun
            else []
        )
        return {
            "verdict": verdict,
            "findings": FINDINGS.get(verdict, []),
            "arrived_at": moment(starts + 120, 45) if there else None,
            "left_at": moment(ends - 60, 80) if there and verdict != "pending" else None,
            "on_site_s": {"best": on_site, "lower": max(0.0, on_site - 110), "upper": on_site + 90 if there else 0.0},
            "coverage": 1 - missing / (until - starts) if begun else None,
            "monitored_s": max(0.0, until - starts - missing), "expected_s": max(0.0, until - starts),
            "gaps": gaps, "presence": presence,
            "evidence": {"fixes": 271, "checks": 2, "device_events": 9, "statuses": 3, "flags": {"teleport": 11}},
            "explanation": EXPLANATION,
            "version": 2 if begun else 0, "engine": "1", "policy": 1,
        }  # fmt: skip

    def _alerts(self) -> dict[str, Json]:
        if not self.workers:
            return {}
        kinds = (("sos", "critical"), ("no_show", "warning"), ("device_offline", "warning"), ("low_coverage", "info"))
        visits = list(self.visits.values())
        made = [
            alert(f"a-{n}", kind, severity, self.now - n * 900, visits[n * 4 % len(visits)])
            for n, (kind, severity) in enumerate(kinds)
        ]
        return {one["id"]: one for one in made}

    def _tell(self, kind: str, data: Json) -> None:
        self.events.append((len(self.events) + 1, kind, data))


STOP_S = 0.02
"""How often it looks whether it should stop: every test waits for that."""


class Desk(ThreadingHTTPServer):
    """The server; `key` is wanted when it is set, `silent` streams say nothing more."""

    daemon_threads = True

    def __init__(self, fleet: Fleet, port: int = 0, key: str | None = None) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.fleet = fleet
        self.key = key
        self.cuts = 0
        self.resumed: list[str | None] = []
        threading.Thread(target=self.serve_forever, args=[STOP_S], daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def cut_streams(self) -> None:
        with self.fleet.lock:
            self.cuts += 1
            self.fleet.lock.notify_all()


class Handler(BaseHTTPRequestHandler):
    server: Desk
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/readyz":
            return self._reply(self.server.fleet.health(), 200 if self.server.fleet.ready else 503)
        if not url.path.startswith("/v1/"):
            return self._file(url.path)
        if self.server.key and self.headers.get("Authorization") != f"Bearer {self.server.key}":
            return self._reply({"title": "Unauthorized", "detail": "Send the key as Authorization: Bearer"}, 401)
        if url.path == "/v1/live":
            return self._stream()
        answer = self._answer([unquote(part) for part in url.path.split("/")[2:]], parse_qs(url.query))
        return self._reply(answer or {"title": "Not Found", "detail": f"{url.path} is not known"}, 200 if answer else 404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        url = urlsplit(self.path)
        if url.path.startswith("/v1/rejects"):
            number = url.path.split("/")[3]
            if url.path.endswith("/close"):
                self._reply(self.server.fleet.close(int(number), json.loads(body)["why"]))
                return
            self._reply(self.server.fleet.want(None if number == "all" else int(number), parse_qs(url.query)), 202)
            return
        alert = self.server.fleet.alerts[unquote(self.path.split("/")[3])]
        alert["acknowledged"] = {"at": rfc3339(time.time()), "by": None, "note": None}
        self._reply(alert)

    def _answer(self, parts: list[str], several: dict[str, list[str]]) -> Json | None:
        fleet = self.server.fleet
        query = {name: values[0] for name, values in several.items()}
        match parts:
            case ["settings"]:
                return {
                    "coverage_target": 0.95,
                    "version": "0",
                    "map_style": None,
                    "tile_url": None,
                    "auth_required": bool(self.server.key),
                }
            case ["sites"]:
                return {"type": "FeatureCollection", "features": fleet.sites, "next": None}
            case ["sites", site]:
                return next((one for one in fleet.sites if one["id"] == site), None)
            case ["workers"]:
                return listed([{"id": worker, "name": fleet.name(worker)} for worker in fleet.workers])
            case ["workers", worker, "track"]:
                fixes = [fix for visit in fleet.visits.values() if visit["worker"] == worker for fix in fleet.track(visit)]
                within = [fix for fix in fixes if epoch(query["from"]) <= epoch(fix["properties"]["at"]) < epoch(query["to"])]
                return {"type": "FeatureCollection", "features": within, "next": None}
            case ["positions"]:
                return {"type": "FeatureCollection", "features": [fleet.position(worker) for worker in fleet.workers], "next": None}
            case ["stays"]:
                stays = [stay for stay in fleet.stays() if stay["properties"]["worker"] in several.get("worker", fleet.workers)]
                return {"type": "FeatureCollection", "features": stays, "next": None}
            case ["visits"]:
                return listed(sorted(matching(fleet.visits.values(), several), key=lambda visit: visit["starts_at"]))
            case ["visits", visit]:
                return fleet.visits.get(visit)
            case ["visits", visit, "evidence"]:
                starts = epoch(fleet.visits[visit]["starts_at"])
                checks = [{"at": rfc3339(starts + 130), "kind": "in", "method": "qr"}]
                return {
                    "checks": checks,
                    "device_events": [{"at": rfc3339(starts + 110), "kind": "unlock", "device": "lock-1"}],
                    "statuses": [],
                }
            case ["visits", visit, "history"]:
                now = fleet.visits[visit]["outcome"]
                before = {**now, "verdict": "unknown", "coverage": 0.83}
                late = {"what": "late_evidence", "of": "fixes", "count": 3, "worker": "w-1"}
                news = [{"what": "verdict", "before": "unknown", "after": now["verdict"]}]
                return listed(
                    [
                        {"why": why, "reasons": [reason], "changed": changed, "recorded_at": rfc3339(time.time()), "outcome": of}
                        for why, reason, changed, of in (
                            ("3 late fixes of w-1", late, news, now),
                            ("first", {"what": "first"}, [], before),
                        )
                    ]
                )
            case ["rejects"]:
                return listed(list(fleet.rejects_of(query.get("reason"), is_open=query["open"] == "true")))
            case ["alerts"]:
                return listed(list(fleet.alerts.values()))
            case ["devices"]:
                kinds = ("lock", "motion", "plug", "contact")
                return listed(
                    [
                        device(n, site["id"], kinds[n % 4])
                        for n, site in enumerate(fleet.sites)
                        if query.get("site") in (None, site["id"])
                    ]
                )
            case ["coverage"]:
                return fleet.coverage(query["by"])
        return None

    def _stream(self) -> None:
        fleet, cuts = self.server.fleet, self.server.cuts
        last = self.headers.get("Last-Event-ID")
        self.server.resumed.append(last)
        seen = int(last) if last else len(fleet.events)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b": hello\n\n")
        self.wfile.flush()
        while True:
            with fleet.lock:
                if len(fleet.events) == seen and self.server.cuts == cuts:
                    fleet.lock.wait(timeout=10)
                fresh = fleet.events[seen:]
            seen += len(fresh)
            if self.server.cuts > cuts:
                self.close_connection = True
                return
            text = (
                "".join(f"id: {number}\nevent: {kind}\ndata: {json.dumps(data)}\n\n" for number, kind, data in fresh)
                or ": still here\n\n"
            )
            try:
                self.wfile.write(text.encode())
                self.wfile.flush()
            except OSError:
                return

    def _file(self, path: str) -> None:
        file = STATIC / "index.html" if path == "/" else STATIC / path.removeprefix("/static/")
        if not file.is_file():
            self._reply({"title": "Not Found"}, 404)
            return
        body = file.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", f"{KINDS.get(file.suffix, 'text/plain')}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _reply(self, answer: Json, status: int = 200) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if status < 400 else "application/problem+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def matching(visits: Any, query: dict[str, list[str]]) -> Iterator[Json]:
    """Those that fulfil every condition; a condition with several values is fulfilled by any of them."""
    verdicts = [verdict for text in query.get("verdict", []) for verdict in text.split(",")]
    for visit in visits:
        said = ((visit["site"], query.get("site")), (visit["worker"], query.get("worker")), (visit["outcome"]["verdict"], verdicts))
        within = epoch(query["from"][0]) <= epoch(visit["starts_at"]) < epoch(query["to"][0])
        if within and all(not wanted or value in wanted for value, wanted in said):
            yield visit


def device(n: int, site: str, kind: str) -> Json:
    said = {"lock": "unlock", "motion": "motion", "plug": "power", "contact": "open"}[kind]
    at = rfc3339(time.time() - n * 40)
    state = {
        "at": at,
        "received_at": at,
        "online": n % 9 != 0,
        "battery": 0.1 + (n % 9) / 10,
        "reported": {said: {"at": time.time(), "value": 43}},
    }
    return {
        "id": f"{kind}-{n}",
        "site": site,
        "kind": kind,
        "dialect": "native",
        "address": None,
        "name": None,
        "state": state if n % 7 else None,
    }


def program(name: str, **said: Any) -> Json:
    nothing = dict.fromkeys(("connected", "connected_at", "last_message_at", "received_per_s", "lag_s", "queue_depth"))
    at = rfc3339(time.time())
    return {"name": name, "state": "ok", "beat_at": at, "started_at": at, **nothing, "rejected": {}, **said}


def reject(number: int, reason: str, topic: str, payload: str, times: int = 1) -> Json:
    at = rfc3339(time.time() - 600 * number)
    return {
        "id": number,
        "received_at": at,
        "last_at": rfc3339(time.time()),
        "times": times,
        "topic": topic,
        "reason": reason,
        "detail": f"{reason}: <b>what is wrong</b>",
        "payload": payload,
        "encoding": "utf-8",
        "truncated": False,
        "replayed_at": None,
        "closed_why": None,
        "replay": {"wanted_at": None, "read_at": None, "outcome": None},
    }


def alert(name: str, kind: str, severity: str, at: float, visit: Json) -> Json:
    about = {"visit": visit["id"], "worker": visit["worker"], "site": visit["site"], "device": None}
    return {
        "id": name,
        "kind": kind,
        "severity": severity,
        "at": rfc3339(at),
        **about,
        "detail": {},
        "cleared": False,
        "acknowledged": None,
    }


def point(lon: float, lat: float, **properties: Any) -> Json:
    return {"type": "Feature", "geometry": {"type": "Point", "coordinates": [lon, lat]}, "properties": properties}


def centre(site: Json) -> tuple[float, float]:
    coordinates = site["geometry"]["coordinates"]
    if site["geometry"]["type"] == "Point":
        return coordinates[0], coordinates[1]
    ring = coordinates[0][:-1]
    return math.fsum(lon for lon, _ in ring) / len(ring), math.fsum(lat for _, lat in ring) / len(ring)


def span(start: float, end: float, **what: str) -> Json:
    return {"start": rfc3339(start), "end": rfc3339(end), **what}


def moment(best: float, spread: float) -> Json:
    return {"best": rfc3339(best), "earliest": rfc3339(best - spread), "latest": rfc3339(best + spread)}


def listed(items: list[Json]) -> Json:
    return {"items": items, "next": None}


def rfc3339(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def epoch(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


if __name__ == "__main__":
    desk = Desk(Fleet(int(sys.argv[2]) if len(sys.argv) > 2 else 40), int(sys.argv[1]))
    while True:
        time.sleep(2)
        desk.fleet.move()
