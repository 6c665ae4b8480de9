"""Post: plans go out by HTTP, as the contract says. One request for all if the system takes bulk, else one PUT each."""

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from device_sim.simulate import Day

TIMEOUT_S = 30.0
PATIENCE_S = 40.0
"""How long to wait for a system that is still starting."""
ITEMS_MAX = 2000
"""Of one kind in one request, so that a fleet of thousands does not meet a limit on bodies."""
ORDER = ("sites", "workers", "devices", "visits")
"""What is named must be there first."""


class RefusedError(Exception):
    """The system said no to a plan. The message holds its reason."""


def plans(http: str, token: str | None, day: Day) -> int:
    """Send all plans of the day; the number of things sent. Raises RefusedError, or OSError when nobody answers."""
    body = day.plans()
    batches = [{kind: body[kind][k : k + ITEMS_MAX]} for kind in ORDER for k in range(0, len(body[kind]), ITEMS_MAX) if body[kind]]
    for batch in batches:
        status, text = _request("POST", f"{http.rstrip('/')}/v1/plans", token, batch)
        if status in (404, 405):
            _put_each(http, token, batch)
        elif status >= 400:
            raise RefusedError(f"POST /v1/plans answered {status}: {text[:500]}")
    return sum(len(body[kind]) for kind in ORDER)


def _put_each(http: str, token: str | None, batch: dict[str, list[dict[str, Any]]]) -> None:
    def put(job: tuple[str, dict[str, Any]]) -> None:
        kind, item = job
        rest = {key: value for key, value in item.items() if key != "id" or kind == "sites"}
        status, text = _request("PUT", f"{http.rstrip('/')}/v1/{kind}/{urllib.parse.quote(item['id'], safe='')}", token, rest)
        if status >= 400:
            raise RefusedError(f"PUT /v1/{kind}/{item['id']} answered {status}: {text[:500]}")

    for kind, items in batch.items():
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(put, ((kind, item) for item in items)))


def _request(method: str, url: str, token: str | None, body: dict[str, Any]) -> tuple[int, str]:
    """One request; again for a while when nobody listens yet, or the system says that it is not ready."""
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise RefusedError(f"{url!r} is not an http or https URL")
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    data = json.dumps(body, ensure_ascii=False).encode()
    give_up_at = time.monotonic() + PATIENCE_S
    while True:
        request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310 - the scheme was looked at above
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
                return answer.status, answer.read().decode(errors="replace")
        except urllib.error.HTTPError as error:
            if error.code != 503 or time.monotonic() > give_up_at:
                return error.code, error.read().decode(errors="replace")
        except OSError:
            if time.monotonic() > give_up_at:
                raise
        time.sleep(0.5)
