"""The engine: evidence and plan in, presence, duration, coverage and verdict out. Pure: no input or output, no clock, no
logging.
"""

from geofence.credibility import flags
from geofence.engine import ENGINE, Asked, judge, judge_all, next_look, window

__all__ = ["ENGINE", "Asked", "flags", "judge", "judge_all", "next_look", "window"]
