"""Settings of ingest: frozen, with the reason for each default."""

from msgspec import Struct


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How ingest listens, gathers and commits. Durations end in their unit."""

    prefix: str = "sitewatch/v1"
    """First levels of our own topics."""
    owntracks_prefix: str = "owntracks"
    """First levels of the topics that OwnTracks phones publish to; empty: do not listen for them."""

    client_id: str = "sitewatch-ingest"
    """Fixed, because the broker keeps what arrives while we are away under this name. Each ingestor needs its own."""
    share: str = ""
    """Name of a shared subscription by which several ingestors divide the load; empty: a plain subscription, one ingestor."""
    keepalive_s: int = 30
    pulse_s: float = 10.0
    """When nothing has come for so long, ingest sends a pulse to itself through the broker; three of them lost are a stall.
    0: none."""
    session_expiry_s: int = 7 * 86_400
    """How long the broker keeps our queue while we are away."""
    window: int = 10_000
    """Unacknowledged messages that the broker may send. This is the back-pressure: nothing is ever discarded. One
    transaction takes half of it at most, so that the other half can gather meanwhile."""

    rows_max: int = 5_000
    """Rows of a transaction: beyond this a larger one is no faster."""
    linger_s: float = 0.1
    """How soon a batch that is not full may follow the one before it: a stream of single messages makes so many transactions."""
    quiet_s: float = 0.01
    """How long the first message after a pause waits for company."""
    quiet_rows: int = 20
    """A batch of at least this many rows goes early when nothing has come for `quiet_s`: a broker whose window is small is then
    waiting for us, and waiting for it as well would stall both."""

    beat_every_s: float = 3.0
    outage_after_s: float = 30.0
    """A silence of all ingestors longer than this is an outage of ours, which gaps in the evidence may be blamed on."""
    retry_max_s: float = 3.0
    """Cap of the growing pause between attempts when the broker or the database is away. With the 5 s that an attempt may take,
    what has come back is used again within 8."""
    attempt_max_s: float = 30.0
    """How long an attempt at a transaction may take before the database counts as lost and is connected to anew."""
    drain_s: float = 3.0
    """How long a stopping ingest tries to commit what it holds; what is left, the broker delivers again."""
