"""The embedded broker as a program of its own: `python -m sitewatch.iotcore_broker FILE.toml`."""

import sys

from iotcore.iotcore import IotCoreBroker


def main() -> None:
    """Serves until it is killed: the library has no other way to end."""
    IotCoreBroker(config_path=sys.argv[1]).run_forever()


if __name__ == "__main__":
    main()
