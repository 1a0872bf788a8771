"""The systems under test: how each is started. A new rival is one more entry in `RIVALS`."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

from msgspec import Struct

from bench.plan import CodecName

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT = 20.0
STOP_TIMEOUT = 15.0


class DidNotStart(Exception):
    """A system ended, or did not listen in time; with what it wrote."""


class System(Struct, frozen=True, kw_only=True):
    """A system that listens on one port of 127.0.0.1.

    Attributes:
        command: what to run, in the repository's root; ``{port}`` is filled in.
        environ: what to add to the environment; ``{port}`` is filled in.
        codecs: the encodings that it can speak.
        spaced: whether it encodes events anew with `json.dumps` (see `Load`).
        packages: the distributions whose versions belong in the result.
    """

    name: str
    command: tuple[str, ...]
    environ: Mapping[str, str] = {}
    codecs: frozenset[CodecName] = frozenset({"json"})
    spaced: bool = False
    packages: tuple[str, ...] = ()


def module(name: str, *args: str) -> tuple[str, ...]:
    """A command that runs a Python module in this interpreter."""
    return (sys.executable, "-m", name, *args)


EDGESTREAM = System(
    name="edgestream",
    command=module("broker", "serve", "--config", "config.toml"),
    environ={"EDGESTREAM_LISTEN__PORT": "{port}", "EDGESTREAM_LOGGING__LEVEL": "warning"},
    codecs=frozenset({"json", "msgpack"}),
    packages=("edgestream", "websockets", "uvloop", "uvicorn", "msgspec"),
)
NAIVE = System(
    name="naive",
    command=module("bench.rivals.naive", "{port}"),
    spaced=True,
    packages=("websockets", "uvloop"),
)
SINK = System(name="sink", command=module("bench.rivals.sink", "{port}"))

RIVALS = {system.name: system for system in (NAIVE,)}
SYSTEMS = {EDGESTREAM.name: EDGESTREAM} | RIVALS


@contextmanager
def running(system: System, core: int | None = None) -> Iterator[tuple[int, int]]:
    """Start `system` on `core`, and stop it in the end; its (pid, port).

    Raises:
        DidNotStart: it ended, or did not listen in time.
    """
    port = free_port()
    environ = {name: value.format(port=port) for name, value in system.environ.items()}
    command = [word.format(port=port) for word in system.command]
    if core is not None and (taskset := shutil.which("taskset")):
        command = [taskset, "-c", str(core), *command]
    with TemporaryFile() as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            if not _listens(process, port):
                output.seek(0)
                said = output.read()[-2000:].decode(errors="replace")
                raise DidNotStart(f"{system.name} does not listen on port {port}:\n{said}")
            yield process.pid, port
        finally:
            _stop(process)


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _listens(process: subprocess.Popen[bytes], port: int) -> bool:
    end = time.monotonic() + START_TIMEOUT
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return True
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
