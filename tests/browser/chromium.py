"""Finds a Chromium, or gets one, or says how to get one; and runs it."""

import os
import shutil
import subprocess
import wave
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import pi, sin
from pathlib import Path

from playwright.async_api import Browser, async_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
INSTALL = "apt-get install -y chromium"

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--renderer-process-limit=1",  # a page costs less than its process
    "--disable-site-isolation-trials",
    "--use-fake-device-for-media-stream",
]

TONE_HZ = 440
"""What its microphone hears, over and over."""

_RATE = 48_000


class NoChromiumError(Exception):
    """There is no browser here. A test that needs one fails: it is never skipped."""


def find_chromium() -> str:
    """The path of a Chromium: `$CHROMIUM`, one on the PATH, or one that is installed now.

    Raises:
        NoChromiumError: there is none, and this user may not install one.
    """
    chosen = os.environ.get("CHROMIUM")
    if chosen:
        if shutil.which(chosen) is None:
            raise NoChromiumError(f"$CHROMIUM is {chosen!r}, which is no program")
        return chosen
    found = _on_path()
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], check=False, env=quiet)
        subprocess.run([*INSTALL.split(), "-qq"], check=False, env=quiet, stdout=subprocess.DEVNULL)
        found = _on_path()
    if found is None:
        raise NoChromiumError(f"no Chromium was found; run `sudo {INSTALL}` or set $CHROMIUM")
    return found


@asynccontextmanager
async def chromium(folder: Path) -> AsyncIterator[Browser]:
    """A Chromium that runs, and ends with the context.

    Args:
        folder: an empty one.

    Raises:
        NoChromiumError: there is none.
    """
    sound = folder / "sound.wav"
    _write_tone(sound)
    flags = [*FLAGS, f"--use-file-for-fake-audio-capture={sound}"]
    program = find_chromium()
    async with (
        async_playwright() as playwright,
        await playwright.chromium.launch(executable_path=program, args=flags) as browser,
    ):
        yield browser


def _write_tone(path: Path) -> None:
    """A second of it: whole waves, so that its end leads to its beginning."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(_RATE)
        turn = 2 * pi * TONE_HZ / _RATE
        file.writeframes(array("h", (round(20_000 * sin(turn * n)) for n in range(_RATE))))


def _on_path() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)
