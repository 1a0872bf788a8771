"""The demo agent hears: what espeak-ng says, and what is no speech."""

import os
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.conformance.sse import parse

from .test_demo import demo

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


async def test_words_are_heard_and_answered(speech):
    """By the demo agent, over HTTP: they come as its transcription, and again in its answer."""
    async with demo() as url:
        form = {"chatInstanceId": "s", "chatModelId": "m", "stream": "true"}
        files = {"audio": ("said.wav", speech.read_bytes(), "audio/wav")}
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as http:
            answer = await http.post("/guide/api/chat/voice", data=form, files=files)
    assert answer.status_code == 200, answer.text
    told = [event.json for event in parse(answer.text)]
    assert told[0] == {"type": "transcription", "text": SAID}
    [whole] = [event for event in told if event["type"] == "agent_response"]
    assert SAID in whole["content"]
