"""The program: serves the application until it is told to stop, and then stops within a second, open streams or not."""

import uvicorn
from uvicorn.config import Config

from api import app
from api.settings import Settings
from api.stream import Hub

STOP_S = 1
"""What calls that are under way get at the end; streams are told to go at once."""
BACKLOG = 1024


def run(settings: Settings, database: str, host: str = "127.0.0.1", port: int = 8080) -> None:
    """Serves until SIGINT or SIGTERM."""
    server(settings, database, host, port).run()


def server(settings: Settings, database: str, host: str, port: int) -> uvicorn.Server:
    """A server that was not started yet."""
    application = app.create(settings, database)
    config = Config(
        application,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        backlog=BACKLOG,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=STOP_S,
        server_header=False,
        ws="none",
    )
    return _Server(config, application.state.hub)


class _Server(uvicorn.Server):
    """Uvicorn waits for open answers before it ends the application; streams never end by themselves, so they are told first."""

    def __init__(self, config: Config, hub: Hub) -> None:
        super().__init__(config)
        self._hub = hub

    async def shutdown(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        """Ends the streams, then everything else."""
        self._hub.close()
        await super().shutdown(sockets)  # type: ignore[arg-type]
