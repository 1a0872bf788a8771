"""The benchmark's own environment: rivals from PyPI and npm, and the compiled generator.

Everything is put into `bench/.env` when it is first needed. What cannot be is told, and
whatever needs it is skipped.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

BENCH = Path(__file__).resolve().parent
HOME = BENCH / ".env"
PYTHON = HOME / "venv" / "bin" / "python"
MODULES = HOME / "node_modules"
SOURCES = BENCH / "load"
LOAD, SINK = HOME / "load", HOME / "sink"
TIMEOUT = 300


class Unavailable(Exception):
    """Something cannot be installed or compiled here; with the last line of why."""


def installed(pip: Sequence[str], npm: Sequence[str]) -> bool:
    """Whether these packages have been installed."""
    return all(_marker(kind, names).exists() for kind, names in _kinds(pip, npm))


def install(pip: Sequence[str], npm: Sequence[str]) -> None:
    """Install packages from PyPI and npm, unless that was done before.

    Raises:
        Unavailable: that failed.
    """
    for kind, names in _kinds(pip, npm):
        marker = _marker(kind, names)
        if marker.exists():
            continue
        print(f"installing {' '.join(names)} …", file=sys.stderr, flush=True)
        if kind == "pip":
            _pip(names)
        else:
            _npm(names)
        marker.touch()


def compiled() -> bool:
    """Whether the generator and the sink are there, and newer than their sources."""
    newest = max(path.stat().st_mtime for path in SOURCES.iterdir())
    return all(out.exists() and out.stat().st_mtime > newest for out in (LOAD, SINK))


def compile_load() -> None:
    """Compile the generator and the sink, where their sources are newer.

    Raises:
        Unavailable: there is no C compiler, or it failed.
    """
    if compiled():
        return
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if not compiler:
        raise Unavailable("there is no C compiler (cc)")
    HOME.mkdir(exist_ok=True)
    sink = SOURCES / "sink.c"
    others = sorted(set(SOURCES.glob("*.c")) - {sink})
    for out, sources in ((LOAD, others), (SINK, [sink])):
        made = out.with_suffix(f".{os.getpid()}")
        _do([compiler, "-O2", "-flto", "-std=gnu11", "-o", str(made), *map(str, sources)])
        made.replace(out)


def version(package: str) -> str:
    """The version of a package of PyPI or npm, here or in the project's own environment."""
    package = package.partition("[")[0]
    manifest = MODULES / package / "package.json"
    if manifest.exists():
        return str(json.loads(manifest.read_text())["version"])
    paths = [str(path) for path in (HOME / "venv" / "lib").glob("*/site-packages")]
    for found in (metadata.distributions(name=package, path=p) for p in (paths, sys.path)):
        for distribution in found:
            return distribution.version
    return "unknown"


def _kinds(pip: Sequence[str], npm: Sequence[str]) -> list[tuple[str, Sequence[str]]]:
    return [(kind, names) for kind, names in (("pip", pip), ("npm", npm)) if names]


def _marker(kind: str, names: Sequence[str]) -> Path:
    return HOME / "-".join([f".{kind}", *names]).replace("/", "-")


def _pip(names: Sequence[str]) -> None:
    if not PYTHON.exists():
        _do([sys.executable, "-m", "venv", str(HOME / "venv")])
    _do([str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *names])


def _npm(names: Sequence[str]) -> None:
    npm = shutil.which("npm")
    if not npm:
        raise Unavailable("there is no npm")
    HOME.mkdir(exist_ok=True)
    manifest = HOME / "package.json"
    if not manifest.exists():
        manifest.write_text('{"private": true}\n')
    _do([npm, "install", "--no-audit", "--no-fund", "--prefix", str(HOME), *names])


def _do(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, timeout=TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(str(error)) from error
    if done.returncode:
        said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
        raise Unavailable(said[-1] if said else f"{command[0]}: status {done.returncode}")
