"""The deployment's files, as the tests of this folder read them."""

from pathlib import Path
from typing import Any

import yaml

HOUSE = Path(__file__).parents[2]


def compose() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((HOUSE / "docker-compose.yml").read_text())
    return read
