"""The process that atheris fuzzes in: `python -m tests.fuzz.guided TARGET SEEN.json CORPUS [libFuzzer's options]`.

libFuzzer ends the process without a word to Python, so what was seen is written down as it goes.
"""

import sys
import time
from pathlib import Path

import atheris  # type: ignore[import-untyped]

# What is to be reached is counted line by line; everything must be imported here for that.
with atheris.instrument_imports(include=["ingest", "api", "geofence"]):
    from tests.fuzz import targets
import msgspec

from tests.fuzz.engines import Seen, try_one
from tests.fuzz.meter import metering

WRITE_EVERY_S = 0.5
WRITE_EVERY_CASES = 100


def main() -> None:
    name, told, *options = sys.argv[1:]
    target, place = targets.IN_PROCESS[name], Path(told)
    seen = Seen(target=name, engine="atheris")
    written = time.monotonic()
    with metering() as meter:

        def once(data: bytes) -> None:
            nonlocal written
            why = try_one(target, data, meter)
            if why or meter.cases % WRITE_EVERY_CASES == 0 or time.monotonic() - written > WRITE_EVERY_S:
                written = time.monotonic()
                seen.cases, seen.slowest_s, seen.slowest, seen.why = meter.cases, meter.slowest_s, meter.slowest, why
                seen.broken = data if why else None
                place.write_bytes(msgspec.json.encode(seen))
            if why:
                raise SystemExit(1)

        atheris.Setup([sys.argv[0], *options], once)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
