"""Staying: brings stays up to evidence and plans, and passes on what follows from them. For verify, and for replay.

The caller has opened the transaction. A visit that looks different by a stay is queued, and judged like any other.
"""

from collections.abc import Collection, Sequence

from psycopg import Connection

from sitewatch import exceptions
from store import stays, stops, touched
from store.changes import Changed
from store.journal import Bite, Touch
from store.stays import Followed, Saying

_KIND = exceptions.KINDS[stays.ALERT]
SAYING = Saying(severity=_KIND.severity, en=_KIND.en, zh=_KIND.zh)


def follow(connection: Connection, touches: Sequence[Touch], now: float) -> Changed:
    """Follows evidence. A touch's source is the worker's id."""
    return _passed_on(connection, stays.follow(connection, stops.follow(connection, touches, now), SAYING), now)


def follow_plans(connection: Connection, bite: Bite, remapped: Collection[str], now: float) -> Changed:
    """Follows visits and sites that were put or deleted, and workers who gained or lost a phone."""
    if not (bite.visits or bite.sites or remapped):
        return Changed()
    found = stays.follow(connection, stops.anew(connection, remapped), SAYING) if remapped else Followed()
    plans = stays.follow_plans(connection, bite.visits, bite.sites, SAYING)
    both = Followed(alerts=found.alerts | plans.alerts, visits=found.visits | plans.visits)
    return _passed_on(connection, both, now)


def anew(connection: Connection, workers: Sequence[str], now: float) -> Changed:
    """Makes the stays of workers anew, as if none had been stored."""
    return _passed_on(connection, stays.anew(connection, stops.anew(connection, workers), SAYING), now)


def _passed_on(connection: Connection, followed: Followed, now: float) -> Changed:
    if followed.visits:
        touched.later(connection, followed.visits, now)
    return Changed(alerts=followed.alerts)
