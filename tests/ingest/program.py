"""ingest as the process that it is: started, told to stop, killed."""

import os
import signal
import subprocess
import sys
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

import msgspec

from ingest.settings import Settings

START = """
import sys, msgspec
from ingest import main
from ingest.settings import Settings
main.run(msgspec.json.decode(sys.argv[1], type=Settings), sys.argv[2], sys.argv[3])
"""


class Program:
    """One ingest process. Leaving the block kills what is left of it."""

    def __init__(self, database: str, mqtt: str, settings: Settings | None = None) -> None:
        arguments = [msgspec.json.encode(settings or Settings()).decode(), database, mqtt]
        self._process = subprocess.Popen(
            [sys.executable, "-c", START, *arguments], env={**os.environ, "PYTHONUNBUFFERED": "1"}, stdout=subprocess.DEVNULL
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.kill()

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(10)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None


def through(url: str, port: int) -> str:
    """The same URL by way of a proxy on this port of loopback."""
    parts = urlsplit(url)
    login = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{login}@127.0.0.1:{port}" if login else f"127.0.0.1:{port}"))
