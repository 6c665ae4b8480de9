"""The configuration is read from one file and the environment, and a typing error never goes unseen."""

from pathlib import Path

import msgspec
import pytest

from sitewatch import config


def file(folder: Path, text: str) -> Path:
    written = folder / "sitewatch.toml"
    written.write_text(text)
    return written


def test_without_a_file_and_variables_there_are_defaults() -> None:
    assert config.load(environment={}) == config.Settings()


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    written = file(tmp_path, 'database = "postgresql://file"\n[up]\nhttp_port = 1\nmqtt_port = 2\n')
    found = config.load(written, {"SITEWATCH_DATABASE": "postgresql://environment", "SITEWATCH_UP__HTTP_PORT": "3"})
    assert (found.database, found.up.http_port, found.up.mqtt_port) == ("postgresql://environment", 3, 2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[up]\nhttp_prot = 1\n", "did you mean 'http_port'?"),
        ("[ingset]\n", "did you mean 'ingest'?"),
        ("up = 3\n", r"write \[up\]"),
        ('[up]\nhttp_port = "many"\n', "up.http_port"),
        ("[up\n", "cannot be read"),
    ],
)
def test_a_mistake_in_the_file_names_the_place_and_the_mend(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(config.ConfigError, match=said):
        config.load(file(tmp_path, text), {})


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("SITEWATCH_UP__HTTP_PROT", "SITEWATCH_UP__HTTP_PROT.*did you mean 'http_port'"),
        ("SITEWATCH_UPP__DATA", "did you mean 'up'"),
    ],
)
def test_a_mistake_in_a_variable_names_it(variable: str, said: str) -> None:
    with pytest.raises(config.ConfigError, match=said):
        config.load(environment={variable: "1"})


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(config.ConfigError, match="no configuration file"):
        config.load(tmp_path / "missing.toml", {})


def test_a_secret_may_come_from_a_file_or_a_variable(tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text("s3cret\n")
    assert config.load(file(tmp_path, f'[api]\napi_key_file = "{secret}"\n'), {}).api.api_key == "s3cret"
    assert config.load(environment={"SITEWATCH_API_KEY_FILE": str(secret)}).api.api_key == "s3cret"
    assert config.load(environment={"SITEWATCH_DATABASE_FILE": str(secret)}).database == "s3cret"
    assert config.load(environment={"SITEWATCH_API_KEY": "plain"}).api.api_key == "plain"


def test_a_variable_of_somebody_else_is_left_alone() -> None:
    assert config.load(environment={"SITEWATCH_SERVICE_HOST": "10.0.0.1"}) == config.Settings()


def test_the_document_has_every_setting_with_its_default() -> None:
    document = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
    sections = dict(part.split("]\n", 1) for part in document.split("### [")[1:])
    for section in msgspec.structs.fields(config.Settings):
        if not (isinstance(section.type, type) and issubclass(section.type, msgspec.Struct)):
            assert f"| `{section.name}` |" in document
            continue
        for key in msgspec.structs.fields(section.type):
            default = "–" if key.default is None else f'`"{key.default}"`' if isinstance(key.default, str) else f"`{key.default}`"
            assert f"| `{key.name}` | {default} |" in sections[section.name], f"[{section.name}] {key.name}"
