"""How verify paces itself. Apart from verify, because the configuration is read by programs that need none of the engine."""

from msgspec import Struct


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How verify paces itself."""

    poll_s: float = 0.5
    """Looks at least this often, also when no notification came."""
    pause_s: float = 0.25
    """Looks at most this often: what comes together is judged together."""
    coalesce_s: float = 1.0
    """Gathers late evidence of a visit for so long."""
    judge_every_s: float = 1.0
    """Judges at most this often, unless more is due than one transaction takes: thirty statements cost the same for one visit and
    for forty. Positions do not wait for it."""
    entries_max: int = 2_000
    """Rows of the journal read in one bite."""
    visits_max: int = 100
    """Visits judged in one transaction, of each part of the queue: some tenths of a second, in which positions wait."""
    answer_max_s: float = 60.0
    """How long an answer of the database may take before it counts as lost and is connected to anew."""
    beat_s: float = 2.0
    trim_s: float = 60.0
    keep_journal_s: float = 3600.0
    keep_changes_s: float = 21_600.0
