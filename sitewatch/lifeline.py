"""What a program does when `sitewatch up` started it: wait for its turn, and end when `up` has ended.

`up` starts every program at once, because importing takes longer than anything else, and gives each the reading end of a
pipe as its standard input. A line on it means go: the database and the broker are there. Its end means that `up` is gone,
even by kill -9: the program is then told to stop as if by SIGTERM, and ended by force when it takes too long.

A program that a person or a container starts has no lifeline and does not wait.
"""

import os
import signal
import sys
import threading
import time

VARIABLE = "SITEWATCH_LIFELINE"
GO = b"go\n"
STOP_TIMEOUT_S = 4.0


def hold() -> None:
    """Returns when it is this program's turn; watches from then on. To be called when everything is imported."""
    if os.environ.pop(VARIABLE, None) is None:
        return
    # Not through sys.stdin: a thread that waits inside its lock would block the end of the interpreter.
    if os.read(0, len(GO)) != GO:
        sys.exit("sitewatch up has ended before this program began")
    threading.Thread(target=_watch, name="lifeline", daemon=True).start()


def _watch() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(STOP_TIMEOUT_S)
    os._exit(1)
