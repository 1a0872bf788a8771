"""The demo agent hears: what espeak-ng says, and what is no speech."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import httpx
import pytest

from .test_demo import free_port, printed_address, start

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
    """By the demo agent, over HTTP: they come as its transcription, and it answers them: to
    "today" it tells the date."""
    demo = await start(free_port())
    try:
        async with asyncio.timeout(60):
            answer = await say(await printed_address(demo), speech.read_bytes())
    finally:
        demo.send_signal(signal.SIGINT)
        await demo.communicate()
    lines = [line for line in answer.splitlines() if line.startswith("data: ")]
    told = [json.loads(line.removeprefix("data: ")) for line in lines]
    assert told[0] == {"type": "transcription", "text": SAID}
    [whole] = [event for event in told if event["type"] == "agent_response"]
    assert "day" in whole["content"]


async def say(address: str, sound: bytes) -> str:
    """What is answered to a recording, once the agent is there."""
    form = {"chatInstanceId": "s", "chatModelId": "m", "stream": "true"}
    files = {"audio": ("said.wav", sound, "audio/wav")}
    async with httpx.AsyncClient(base_url=address, trust_env=False, timeout=30) as http:
        while True:
            answer = await http.post("/guide/api/chat/voice", data=form, files=files)
            if answer.status_code != 503:  # which takes a while to come
                assert answer.status_code == 200, answer.text
                return answer.text
