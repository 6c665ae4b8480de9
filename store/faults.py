"""Which database errors are the fault of the data, and which of the world.

A data error comes again however often it is tried: the row must be found and set aside. Everything else (a lost connection, a full
disk, a deadlock, a missing table) says nothing about the rows: they are tried again until it passes.
"""

import psycopg

_DATA_CLASSES = ("22", "23", "44", "54")
"""SQLSTATE classes: data exception, integrity constraint violation, a view's check, program limit exceeded (a key too long for an
index)."""
_RAISED = "P0001"
"""What a trigger says that refuses a row in its own words."""


def blames_data(error: Exception) -> bool:
    """Whether this error would come again with the same rows."""
    if isinstance(error, psycopg.Error):
        if error.sqlstate is not None:
            return error.sqlstate[:2] in _DATA_CLASSES or error.sqlstate == _RAISED
        return isinstance(error, psycopg.DataError)
    return isinstance(error, OverflowError | UnicodeError)
