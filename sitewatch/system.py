"""A running system as its own command line sees it over HTTP: how long it keeps evidence, and where plans go.

Only what commands such as `sitewatch import` and `sitewatch plans put` need. A refusal is passed on in the API's own words, which
name the field and the mend.
"""

import json
from collections import Counter
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from sitewatch import plan_files
from sitewatch.plan_files import Plans

TIMEOUT_S = 120.0
"""A bulk of plans is one transaction; ten thousand visits take seconds."""


class UnreachableError(Exception):
    """The API does not answer; the text says where it was asked."""


class RefusedError(Exception):
    """The API said no; the text is its own."""


class Endpoints(Struct, frozen=True, kw_only=True):
    """Where a system is."""

    http: str
    mqtt: str
    token: str | None = None

    database: str | None = None

    @classmethod
    def of_ready_file(cls, path: Path) -> "Endpoints":
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls)
        except (OSError, msgspec.DecodeError) as error:
            raise UnreachableError(f"The ready file {path} cannot be used: {error}. Is `sitewatch up` running?") from error


def retention_days(endpoints: Endpoints) -> float | None:
    """How long evidence is kept; None: for ever. Raises UnreachableError when nobody can say it."""
    try:
        settings = _call(endpoints, "GET", "/v1/settings")
    except (UnreachableError, RefusedError) as error:
        raise UnreachableError(
            f"{error} It would have said how long evidence is kept, so that an old recording is not deleted unnoticed. Give --http"
            " where the API is, or --retention-days, or --even-if-expired."
        ) from error
    days = settings.get("retention_days")
    return float(days) if isinstance(days, int | float) and not isinstance(days, bool) else None


def put_plans(endpoints: Endpoints, plans: Plans) -> str:
    """Put all of it; answers a sentence that says what was put. Raises RefusedError in the API's words."""
    counts: Counter[str] = Counter()
    for body in plan_files.calls(plans):
        _call(endpoints, "POST", "/v1/plans", msgspec.json.encode(body))
        counts.update(sites=len(body.sites), workers=len(body.workers), devices=len(body.devices), visits=len(body.visits))
    return "Plans put: " + (", ".join(f"{count:,} {kind}" for kind, count in counts.items() if count) or "none") + "."


def _call(endpoints: Endpoints, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
    parts = urlsplit(endpoints.http)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.hostname or "127.0.0.1", parts.port, timeout=TIMEOUT_S)
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if endpoints.token:
        headers["Authorization"] = f"Bearer {endpoints.token}"
    try:
        connection.request(method, parts.path.rstrip("/") + path, body, headers)
        answer = connection.getresponse()
        text = answer.read()
    except (OSError, HTTPException) as error:
        raise UnreachableError(f"The API at {endpoints.http} does not answer: {error}.") from error
    finally:
        connection.close()
    if answer.status >= 400:
        raise RefusedError(f"{method} {path}: {answer.status} {_problem(text)}")
    return _object(text)


def _problem(text: bytes) -> str:
    problem = _object(text)
    said = [str(problem[name]) for name in ("title", "detail") if problem.get(name)]
    faults = problem.get("errors")
    if isinstance(faults, list):
        said += [json.dumps(fault, ensure_ascii=False) if isinstance(fault, dict) else str(fault) for fault in faults[:10]]
    return ": ".join(said) or text[:300].decode("utf-8", "replace")


def _object(text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
