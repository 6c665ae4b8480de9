"""The size of bodies: who declares too much is refused before anything is read, who sends more than declared while reading."""

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import problem
from api.settings import Settings

BULK = "/v1/plans"


class BodyLimit:
    """Middleware that answers 413 to a body larger than its call takes."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most = self._settings.plans_bytes_max if scope["path"] == BULK else self._settings.body_bytes_max
        detail = f"The body is larger than the {most:,} bytes that this call takes: send fewer items at a time."
        declared = Headers(scope=scope).get("content-length", "0")
        if declared.isdecimal() and int(declared) > most:
            answer = Response(problem.reply(413, detail, scope["path"]), 413, media_type=problem.MEDIA_TYPE)
            await answer(scope, receive, send)
            return
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > most:
                raise problem.Problem(413, detail)
            return message

        await self._app(scope, counted, send)
