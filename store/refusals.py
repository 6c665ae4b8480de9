"""Refusals: what a plan may not say, because it contradicts what is stored. Each names the item, the field and the mend.

The database's own constraints hold too; these look first, so that a person reads a sentence and not the name of a constraint.
"""

from collections.abc import Sequence
from typing import Literal, Protocol

from psycopg import AsyncConnection

Kind = Literal["site", "worker", "device", "visit"]


class Refused(Exception):  # noqa: N818  (a refusal is an answer, not a defect of ours)
    """A plan that cannot be written as it is: which item, which of its fields, and the mend in one sentence."""

    def __init__(self, kind: Kind, item: str, field: str, mend: str) -> None:
        super().__init__(f"{kind} {item}, {field}: {mend}")
        self.kind, self.item, self.field, self.mend = kind, item, field, mend


class UnknownReference(Refused):
    """The plan names something that does not exist."""


class Taken(Refused):
    """The plan claims an address that belongs to something else."""


class InUse(Refused):
    """What should be deleted is named by other plans."""


class Addressed(Protocol):
    """A device as far as its address matters."""

    @property
    def id(self) -> str: ...
    @property
    def source(self) -> str: ...


class Zoned(Protocol):
    """A site as far as its time zone matters."""

    @property
    def id(self) -> str: ...
    @property
    def timezone(self) -> str: ...


async def refuse_taken_sources(connection: AsyncConnection, added: Sequence[tuple[str, str]], missing: set[str]) -> None:
    worker, taken = next((worker, source) for worker, source in added if source in missing)
    owner = await (await connection.execute("select worker from sources where source = %s", [taken])).fetchone()
    other = f"worker '{owner[0]}'" if owner and owner[0] != worker else "another worker of this request"
    raise Taken("worker", worker, "aliases", f"'{taken}' already reports for {other}: take it away there first")


async def refuse_a_worker_as_alias(connection: AsyncConnection, workers: list[str]) -> None:
    found = await (await connection.execute(WORKERS_AS_ALIAS, {"workers": workers})).fetchone()
    if found is None:
        return
    alias, owner = found
    mend = f"'{alias}' cannot be an alias of worker '{owner}' and a worker of its own: delete one of them first"
    if owner in workers:
        raise Taken("worker", owner, "aliases", mend)
    raise Taken("worker", alias, "id", mend)


async def refuse_taken_addresses(connection: AsyncConnection, devices: Sequence[Addressed]) -> None:
    columns = [[device.id for device in devices], [device.source for device in devices]]
    found = await (await connection.execute(TAKEN_ADDRESSES, columns)).fetchone()
    if found is not None:
        device, source, other = found
        raise Taken("device", device, "address", f"'{source}' is already the address of device '{other}'")
    seen: dict[str, str] = {}
    for device in devices:
        other = seen.setdefault(device.source, device.id)
        if other != device.id:
            raise Taken(
                "device", device.id, "address", f"'{device.source}' is also the address of device '{other}' in this request"
            )


async def refuse_unknown(
    connection: AsyncConnection, kind: Kind, field: str, table: Literal["sites", "workers"], references: list[tuple[str, str]]
) -> None:
    """Raises `UnknownReference` for the first item that names a row which `table` does not have."""
    named = sorted({reference for _, reference in references})
    missing = {row[0] for row in await (await connection.execute(MISSING[table], [named])).fetchall()}
    for item, reference in references:
        if reference in missing:
            mend = f"{field} '{reference}' is not known: PUT /v1/{table}/{reference} first"
            raise UnknownReference(kind, item, field, mend)


async def refuse_unknown_zones(connection: AsyncConnection, sites: Sequence[Zoned]) -> None:
    """Reports count days in the site's zone inside the database, so that the database must know the zone."""
    zones = sorted({site.timezone for site in sites})
    known = {row[0] for row in await (await connection.execute(KNOWN_ZONES, [zones])).fetchall()}
    for site in sites:
        if site.timezone not in known:
            mend = f"'{site.timezone}' is no time zone: take a name of the IANA database such as Asia/Shanghai"
            raise UnknownReference("site", site.id, "properties.timezone", mend)


async def refuse_when_named(connection: AsyncConnection, kind: Kind, item: str, tables: dict[str, str]) -> None:
    named = []
    for table in tables:
        found = await (await connection.execute(NAMED_BY[kind, table], [item])).fetchall()
        if found:
            count, ids = found[0][1], [other for other, _ in found]
            named.append(f"{count} {table} ({', '.join(ids)}{', …' if count > len(ids) else ''})")
    if named:
        raise InUse(kind, item, "id", f"it is still named by {' and '.join(named)}: delete or move them first")


# An alias that is itself the id of another worker, as far as one of these workers has to do with it.
WORKERS_AS_ALIAS = """
select sources.source, sources.worker
from sources join workers on workers.id = sources.source
where sources.source = any(%(workers)s) or sources.worker = any(%(workers)s)
order by sources.source
limit 1
"""

# The first device whose address another device has.
TAKEN_ADDRESSES = """
select wanted.id, wanted.source, devices.id
from unnest(%s::text[], %s::text[]) as wanted (id, source) join devices on devices.source = wanted.source
where devices.id <> wanted.id
order by wanted.id
limit 1
"""

# Which of these ids the table does not have.
MISSING = {
    "sites": "select id from unnest(%s::text[]) as named (id) where not exists (select from sites where sites.id = named.id)",
    "workers": "select id from unnest(%s::text[]) as named (id) where not exists (select from workers where workers.id = named.id)",
}

# Which of these time zones the database knows.
KNOWN_ZONES = "select name from pg_timezone_names where name = any(%s)"

# Who names this row: the first five, with the count of all.
NAMED_BY = {
    ("site", "devices"): "select id, count(*) over () from devices where site = %s order by id limit 5",
    ("site", "visits"): "select id, count(*) over () from visits where site = %s order by starts_at, id limit 5",
    ("worker", "visits"): "select id, count(*) over () from visits where worker = %s order by starts_at, id limit 5",
}
