"""What the api can be told: the key, the map, and the bounds that keep one caller from hurting the others."""

from msgspec import Struct


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the api; every field has a default that is right for one machine."""

    api_key: str | None = None
    """Callers of `/v1` must send it as `Authorization: Bearer`. Null: nobody is asked, which is meant for loopback only."""

    map_style: str | None = None
    """URL of a MapLibre style for the dashboard. Null: a quiet background that needs no server."""
    tile_url: str | None = None
    """URL template of raster tiles, `{z}/{x}/{y}`; used when there is no `map_style`."""
    tile_attribution: str | None = None
    """Who must be named on the map for these tiles."""

    connections_max: int = 8
    """Connections to the database. Each call holds one for the time of its query."""
    query_timeout_s: float = 10.0
    """After this the database gives a query up, and the caller is told to ask for less."""

    body_bytes_max: int = 1_000_000
    plans_bytes_max: int = 50_000_000
    """Of `POST /v1/plans`, which takes a whole week of a large operator."""

    stream_bytes_max: int = 4_000_000
    """How much may wait for one slow reader of the live stream before it is sent away."""
    stream_resume_rows_max: int = 20_000
    """How far back a reader may resume; one who was away for longer is told to fetch everything anew."""
