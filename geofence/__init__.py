"""The engine: evidence and plan in, presence, duration, coverage and verdict out. Pure: no input or output, no clock, no logging."""
