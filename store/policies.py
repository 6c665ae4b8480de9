"""Policies as stored: which version of which service's policy judges a visit.

Rules kept here:

- A service's own policy holds; where it has none, that of the service `default`; where there is none either, the built-in one.
- A visit is final `final_after_s` after it ended or was last planned, whichever came later. A version made after that does not
  reach it any more. What judges a visit thus follows from what is stored, and a replay years later picks the same version.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import msgspec
from msgspec import Struct
from psycopg import AsyncConnection, Connection

from geofence import window
from geofence.plan import Visit
from geofence.policy import Policy

DEFAULT = "default"


class Dated(Struct, frozen=True):
    """A version of a policy, and since when there is it."""

    policy: Policy
    created_at: float


class Policies(Struct, frozen=True):
    """All versions of all services, the newest first."""

    by_service: Mapping[str, Sequence[Dated]]

    def of(self, service: str, planned_until: float) -> Policy:
        """What judges a visit of `service`; `planned_until` is the later of its end and of when it was last planned."""
        for owner in (service, DEFAULT):
            for dated in self.by_service.get(owner, ()):
                if dated.created_at < planned_until + dated.policy.final_after_s:
                    return dated.policy
        return _built_in(service)

    def own(self) -> list[str]:
        """The services that have a policy of their own."""
        return sorted(self.by_service)

    def margin_s(self) -> float:
        """The most that any policy widens a visit's window by, at either end."""
        all_of_them = [dated.policy for versions in self.by_service.values() for dated in versions]
        return max(_margin_s(policy) for policy in [*all_of_them, _built_in(DEFAULT)])

    def final_after_s(self) -> float:
        """The longest that any policy keeps visits open for a changed policy."""
        all_of_them = [dated.policy for versions in self.by_service.values() for dated in versions]
        return max(policy.final_after_s for policy in [*all_of_them, _built_in(DEFAULT)])


def read(connection: Connection) -> Policies:
    """Every version that was ever put."""
    return _policies(connection.execute(POLICIES).fetchall())


async def fetch(connection: AsyncConnection) -> Policies:
    """The same, for who shows by what was judged."""
    return _policies(await (await connection.execute(POLICIES)).fetchall())


def _policies(rows: Iterable[tuple[str, int, float, str]]) -> Policies:
    by_service: dict[str, list[Dated]] = {}
    for service, version, created_at, body in rows:
        by_service.setdefault(service, []).append(Dated(_policy(service, version, body), created_at))
    return Policies(by_service)


@lru_cache(maxsize=4096)
def _policy(service: str, version: int, body: str) -> Policy:
    fields = msgspec.json.decode(body, type=dict[str, object])
    return msgspec.convert({**fields, "service": service, "version": version}, Policy)


@lru_cache(maxsize=4096)
def _built_in(service: str) -> Policy:
    return Policy(service=service)


@lru_cache(maxsize=4096)
def _margin_s(policy: Policy) -> float:
    probe = Visit(id="", worker="", site="", service=policy.service, starts_at=0.0, ends_at=3600.0)
    opens, closes = window(probe, policy)
    return max(probe.starts_at - opens, closes - probe.ends_at, 0.0)


# Newest first, so that the first that reaches a visit judges it.
POLICIES = """
select service, version, extract(epoch from created_at)::float8, body::text from policies order by service, version desc
"""
