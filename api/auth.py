"""The key: where one is configured, every call of `/v1` must carry it, before its body is read or its address looked at.

Open stay the probes, the page and its files, which hold no data, the reference, and `/v1/settings`, which tells the page to ask for
the key.
"""

import hmac

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from api import problem

OPEN = frozenset({"/v1/settings"})


class KeyRequired:
    """Middleware that answers 401 instead of whoever does not carry the key."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app = app
        self._key = key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _guarded(scope["path"]) or self._carries_it(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        body = problem.reply(401, "Send the API key: Authorization: Bearer <key>.", scope["path"])
        answer = Response(body, 401, {"WWW-Authenticate": 'Bearer realm="sitewatch"'}, media_type=problem.MEDIA_TYPE)
        await answer(scope, receive, send)

    def _carries_it(self, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self._key)


def _guarded(path: str) -> bool:
    return (path == "/v1" or path.startswith("/v1/")) and path not in OPEN
