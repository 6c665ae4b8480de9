"""Plans from a file: JSON as `POST /v1/plans` takes it, GeoJSON of sites, or CSV of visits.

A plan file is taken whole or not at all: a schedule with a visit missing is worse than none. So every fault of the file is found
before anything is sent, each with its line.
"""

import csv
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

VISITS_A_CALL = 10_000
"""Some 2 MB: far below what the API takes, and a call's transaction stays short."""


class Plans(Struct, frozen=True, omit_defaults=True):
    """The body of `POST /v1/plans`. The API knows what a site or a visit is; here they are only carried, and moved in time."""

    sites: list[dict[str, Any]] = []
    workers: list[dict[str, Any]] = []
    devices: list[dict[str, Any]] = []
    visits: list[dict[str, Any]] = []


class PlanFileError(Exception):
    """The file cannot be used: one line a fault, each with where and why."""


def read(path: Path) -> Plans:
    """Raises PlanFileError with every fault of the file."""
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise PlanFileError(f"{path}: {error}") from error
    if path.suffix.lower() == ".csv":
        return _visits(path, text.splitlines())
    try:
        body = json.loads(text)
    except ValueError as error:
        raise PlanFileError(f"{path}: is not JSON: {error}") from error
    if isinstance(body, dict) and body.get("type") == "FeatureCollection":
        body = {"sites": body.get("features", [])}
    try:
        return msgspec.convert(body, Plans)
    except msgspec.ValidationError as error:
        raise PlanFileError(f"{path}: {error}; wanted are sites, workers, devices and visits, each a list of objects") from error


def _visits(path: Path, lines: Iterable[str]) -> Plans:
    """Columns `worker site starts_at ends_at`, optional `id service`. Without an id, worker, site and start make one."""
    rows = csv.DictReader(lines)
    wanted = ("worker", "site", "starts_at", "ends_at")
    if missing := [name for name in wanted if name not in (rows.fieldnames or ())]:
        raise PlanFileError(f"{path}:1: the header lacks {', '.join(missing)}")
    visits: list[dict[str, Any]] = []
    faults: list[str] = []
    for row in rows:
        visit = {name: (row.get(name) or "").strip() for name in ("id", "service", *wanted)}
        faults += [f"{path}:{rows.line_num}: {fault}" for fault in _faults(visit, wanted)]
        visit["id"] = visit["id"] or f"{visit['worker']}-{visit['site']}-{visit['starts_at']}"
        visits.append({name: value for name, value in visit.items() if value})
    if faults:
        raise PlanFileError("\n".join(faults))
    return Plans(visits=visits)


def _faults(visit: dict[str, str], wanted: tuple[str, ...]) -> list[str]:
    faults = [f"{name} is empty" for name in wanted if not visit[name]]
    for name in ("starts_at", "ends_at"):
        try:
            if visit[name] and datetime.fromisoformat(visit[name]).tzinfo is None:
                faults.append(f"{name} {visit[name]!r} has no zone: write {visit[name]}Z if it is UTC")
        except ValueError:
            faults.append(f"{name} {visit[name]!r} is not RFC 3339, like 2026-11-22T08:00:00Z")
    return faults


def moved(plans: Plans, shift_s: float) -> Plans:
    """The same plans with their visits `shift_s` later, as the recording that they belong to."""
    return msgspec.structs.replace(plans, visits=[_later(visit, shift_s) for visit in plans.visits]) if shift_s else plans


def _later(visit: dict[str, Any], shift_s: float) -> dict[str, Any]:
    late = dict(visit)
    for name in ("starts_at", "ends_at"):
        try:
            moment = datetime.fromisoformat(str(visit[name])) + timedelta(seconds=shift_s)
        except (KeyError, ValueError):
            continue  # The API will say what is wrong with it, and name the visit.
        late[name] = moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return late


def calls(plans: Plans) -> list[Plans]:
    """Bodies to post one after the other: sites, workers and devices before the visits that name them."""
    first = msgspec.structs.replace(plans, visits=plans.visits[:VISITS_A_CALL])
    rest = range(VISITS_A_CALL, len(plans.visits), VISITS_A_CALL)
    return [first, *(Plans(visits=plans.visits[begin : begin + VISITS_A_CALL]) for begin in rest)]
