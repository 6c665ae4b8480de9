"""The container's health: `healthcheck.py http URL` asks a probe, `healthcheck.py program NAME` looks for a fresh heartbeat.

ingest and verify serve no HTTP: their heartbeat in the database is what shows that they work, and not only that they run.
"""

import http.client
import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

SILENT_MAX_S = 20
"""Programs beat every few seconds; the api takes one for dead after the same time."""


def answers(url: str) -> bool:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=3)
    try:
        connection.request("GET", parts.path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def beats(name: str) -> bool:
    database = Path(os.environ["SITEWATCH_DATABASE_FILE"]).read_text().strip()
    try:
        with psycopg.connect(database, connect_timeout=3, options="-c statement_timeout=3000") as connection:
            found = connection.execute(
                "select from programs where name = %s and beat_at > now() - make_interval(secs => %s)", (name, SILENT_MAX_S)
            ).fetchone()
    except psycopg.Error:
        return False
    return found is not None


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["http", url]:
            sys.exit(not answers(url))
        case ["program", name]:
            sys.exit(not beats(name))
    sys.exit(__doc__)
