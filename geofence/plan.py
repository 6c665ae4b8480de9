"""Plans: who should serve where and when, as frozen values. A plan is what was meant; it is never evidence."""

from msgspec import Struct
from shapely.geometry.base import BaseGeometry


class Site(Struct, frozen=True, kw_only=True, eq=False):
    """A place of service. `geometry` is WGS-84 lon/lat: Polygon, MultiPolygon, or a Point with `radius_m`."""

    id: str
    geometry: BaseGeometry
    radius_m: float | None = None
    timezone: str = "UTC"


class Device(Struct, frozen=True, kw_only=True):
    """A smart-home device: `source` is the address its evidence comes under."""

    id: str
    site: str
    kind: str
    source: str


class Visit(Struct, frozen=True, kw_only=True):
    """A planned service: `[starts_at, ends_at)` in seconds since 1970 UTC."""

    id: str
    worker: str
    site: str
    service: str
    starts_at: float
    ends_at: float


class Scene(Struct, frozen=True, kw_only=True, eq=False):
    """Everything that a verdict needs beside the evidence.

    `neighbours` are the sites near enough to be mistaken for `site`, and those where the worker's other visits of that time are.
    `others` are the same worker's visits whose windows touch this one's, and `rivals` visits of other workers at this site whose
    windows touch it: a home that somebody else serves at the same time is not an otherwise empty home.
    """

    visit: Visit
    site: Site
    neighbours: tuple[Site, ...] = ()
    devices: tuple[Device, ...] = ()
    phones: tuple[str, ...] = ()
    """The sources that report for the worker. Empty: nothing ever paired."""
    others: tuple[Visit, ...] = ()
    rivals: tuple[Visit, ...] = ()
