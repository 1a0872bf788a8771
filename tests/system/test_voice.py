"""The demo agent hears: what espeak-ng says, and what is no speech."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from plugins.agent.demo.hearing import hear

SAID = "how are you today"


@pytest.fixture(scope="session")
def speech(tmp_path_factory) -> Path:
    """A WAV in which somebody says `SAID`."""
    if shutil.which("espeak-ng") is None and os.geteuid() == 0 and shutil.which("apt-get"):
        quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for command in ("update", "install -y espeak-ng"):
            subprocess.run(
                ["apt-get", "-qq", *command.split()], check=False, env=quiet,
                stdout=subprocess.DEVNULL,
            )  # fmt: skip
    assert shutil.which("espeak-ng"), "run `sudo apt-get install -y espeak-ng`"
    path: Path = tmp_path_factory.mktemp("speech") / "said.wav"
    subprocess.run(["espeak-ng", "-v", "en-us", "-s", "130", "-w", path, SAID], check=True)
    return path


def test_words_are_heard(speech):
    assert hear(speech.read_bytes()) == SAID
