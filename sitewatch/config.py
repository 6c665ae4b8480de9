"""Reads the configuration, once, and gives each package its own frozen settings.

One TOML file (`--config FILE`, else SITEWATCH_CONFIG, else ./sitewatch.toml where it exists) and the environment, which wins.
The rules:

- A section of the file is a package's `Settings`; `SITEWATCH_SECTION__KEY` sets one key of it, `SITEWATCH_KEY` one above.
- A key that nobody knows is an error that names the nearest one: a typing error must not leave a default in place unseen.
- A secret can be read from a file: `api_key_file = "…"`, or SITEWATCH_API_KEY_FILE or SITEWATCH_DATABASE_FILE, as containers
  mount them.
"""

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_origin, get_type_hints

import msgspec

from api.settings import Settings as ApiSettings
from ingest.settings import Settings as IngestSettings
from sitewatch.broker import Settings as BrokerSettings
from sitewatch.postgres import Settings as PostgresSettings
from sitewatch.verify_settings import Settings as VerifySettings

PREFIX = "SITEWATCH_"
DEFAULT_FILE = Path("sitewatch.toml")
# Names from the public contract, or shorter than the rule would make them.
ALIASES = {
    "SITEWATCH_DATABASE": "database",
    "SITEWATCH_MQTT": "mqtt",
    "SITEWATCH_API_KEY": "api.api_key",
    "SITEWATCH_TIMESCALEDB": "postgres.timescaledb",
}


class ConfigError(Exception):
    """The configuration is wrong; the message names the place, the key and the mend."""


class Up(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `sitewatch up` starts with; each can be given on the command line."""

    data: str = ".sitewatch"
    """The folder that keeps everything between runs."""
    http_port: int = 8080
    """Of the dashboard and the API. 0: any free one."""
    mqtt_port: int = 1883
    """Of the broker. 0: any free one."""


class Log(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much the programs log, and in which form."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """`debug` has a line for every batch and every cycle."""
    format: Literal["text", "json"] = "text"
    """`text` for people, `json` for machines."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole configuration. The URLs are for programs that run alone; `up` has its own."""

    database: str | None = None
    mqtt: str | None = None
    up: Up = Up()
    log: Log = Log()
    postgres: PostgresSettings = PostgresSettings()
    broker: BrokerSettings = BrokerSettings()
    ingest: IngestSettings = IngestSettings()
    verify: VerifySettings = VerifySettings()
    api: ApiSettings = ApiSettings()


def load(file: Path | None = None, environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings from the file and the environment. Raises ConfigError."""
    named = file or (Path(environment["SITEWATCH_CONFIG"]) if environment.get("SITEWATCH_CONFIG") else None)
    tree = _read(named or DEFAULT_FILE, must_exist=named is not None)
    _check(Settings, tree, "", str(named or DEFAULT_FILE))
    for name, value in sorted(environment.items()):
        if path := _path(name):
            _put(tree, path, value, name)
    try:
        return msgspec.convert(_with_files(Settings, tree), Settings, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"the configuration does not fit: {error}") from error


def _read(file: Path, *, must_exist: bool) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            return tomllib.load(opened)
    except FileNotFoundError as error:
        if must_exist:
            raise ConfigError(f"there is no configuration file {file}") from error
        return {}
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error


def _path(variable: str) -> list[str] | None:
    """Where a variable of the environment belongs; None when it is not a setting."""
    if variable in ALIASES:
        return ALIASES[variable].split(".")
    if variable.removesuffix("_FILE") in ALIASES:
        return f"{ALIASES[variable.removesuffix('_FILE')]}_file".split(".")
    if variable.startswith(PREFIX) and "__" in variable:
        return variable.removeprefix(PREFIX).lower().split("__")
    return None


def _put(tree: dict[str, Any], path: list[str], value: str, variable: str) -> None:
    kind: Any = Settings
    for name in path[:-1]:
        _known(kind, name, variable)
        kind = get_type_hints(kind)[name]
        if not _is_section(kind):
            raise ConfigError(f"{variable}: {name} is not a section")
        tree = tree.setdefault(name, {})
    _known(kind, path[-1], variable)
    wanted = get_type_hints(kind).get(path[-1])
    listed = get_origin(wanted) in (list, tuple)
    tree[path[-1]] = [part.strip() for part in value.split(",") if part.strip()] if listed else value


def _check(kind: Any, tree: Mapping[str, Any], section: str, place: str) -> None:
    for name, value in tree.items():
        _known(kind, name, f"{place}, section [{section}]" if section else place)
        inner = get_type_hints(kind).get(name)
        if _is_section(inner):
            if not isinstance(value, dict):
                raise ConfigError(f"{place}: {name} is a section: write [{name}] and its keys below")
            _check(inner, value, f"{section}.{name}" if section else name, place)


def _known(kind: Any, name: str, place: str) -> None:
    known = list(get_type_hints(kind))
    if name in known or name.removesuffix("_file") in known:
        return
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
    raise ConfigError(f"{place}: there is no setting {name!r}; {hint}")


def _with_files(kind: Any, tree: Mapping[str, Any]) -> dict[str, Any]:
    """The tree in which `key_file` has become `key`, and sections likewise."""
    hints = get_type_hints(kind)
    whole: dict[str, Any] = {}
    for name, value in tree.items():
        if _is_section(hints.get(name)):
            whole[name] = _with_files(hints[name], value)
        elif name not in hints:
            try:
                whole[name.removesuffix("_file")] = Path(value).read_text().strip()
            except OSError as error:
                raise ConfigError(f"{name} = {value}: {error.strerror}") from error
        else:
            whole[name] = value
    return whole


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)
