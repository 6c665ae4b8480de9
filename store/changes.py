"""Changes: the log that the live stream reads. Says what changed, not how. One writer, so that id order is commit order."""

from collections.abc import Collection

from msgspec import Struct
from psycopg import Connection


class Changed(Struct, frozen=True, kw_only=True):
    """Ids of what a transaction changed for a reader. A device that nobody planned goes by its source."""

    workers: frozenset[str] = frozenset()
    visits: frozenset[str] = frozenset()
    alerts: frozenset[str] = frozenset()
    devices: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.workers or self.visits or self.alerts or self.devices)


def write(connection: Connection, changed: Changed) -> None:
    """Logs a change and wakes the readers once the transaction commits."""
    connection.execute(
        WRITE,
        {
            "workers": sorted(changed.workers),
            "visits": sorted(changed.visits),
            "alerts": sorted(changed.alerts),
            "devices": sorted(changed.devices),
        },
    )
    connection.execute("notify sitewatch_changes")


def trim(connection: Connection, older_than_s: float) -> int:
    """Drops old rows; a reader that slept longer starts anew. Returns how many."""
    return connection.execute(TRIM, [older_than_s]).rowcount


def named(connection: Connection, sources: Collection[str]) -> frozenset[str]:
    """The ids of the devices behind sources."""
    return frozenset(name for (name,) in connection.execute(NAMED, [list(sources)])) if sources else frozenset()


WRITE = """
insert into changes (workers, visits, alerts, devices) values (%(workers)s, %(visits)s, %(alerts)s, %(devices)s)
"""

# The newest row stays, so that a reader can tell an old id from one that was never given.
TRIM = """
delete from changes where made_at < now() - make_interval(secs => %s) and id < (select max(id) from changes)
"""

NAMED = "select coalesce(devices.id, source) from unnest(%s::text[]) as said (source) left join devices using (source)"
"""A source of a planned device is called by the device's id."""
