"""One run: a fresh system, the reader at the far end of the link, the publishers beside it."""

import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from bench.environment import Unavailable
from bench.slow import figures
from bench.slow.link import Link
from bench.slow.plan import Load, Published, Received, Run, Task, Transport
from bench.slow.processes import Failed, Helper, cores, serving
from bench.slow.systems import MEASURED, Place, System, certificate, nginx


def once(name: str, transport: Transport, repeat: int, load: Load, link: Link) -> Run:
    """One run.

    Raises:
        Unavailable: this system cannot be measured with this transport here.
        Failed: a process did not do what it had to.
    """
    system = MEASURED[name]
    if transport == "tls" and system.no_tls:
        raise Unavailable(system.no_tls)
    with _started(system, transport, link) as (base, trust):
        urls = tuple(base + path for path in system.paths)
        task = Task(load=load, dialect=system.dialect, urls=urls, trust=trust)  # type: ignore[arg-type]
        received, published = _measure(task, link)
    found = figures.of(load, received, published)
    missed = figures.missed(load, received, published, found)
    return Run(
        system=name,
        transport=transport,
        repeat=repeat,
        received=received,
        published=published,
        figures=found,
        bar=missed,
        notes=figures.notes(published),
    )


@contextmanager
def _started(system: System, transport: Transport, link: Link) -> Iterator[tuple[str, str]]:
    """A system on the first core, with a proxy before it if one is asked for; its address."""
    core = cores()[0]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        files = certificate(link.host, folder) if transport == "tls" else ("", "")
        behind = transport == "nginx"
        host = "127.0.0.1" if behind else link.host
        place = Place(
            host=host, port=_free(host), folder=folder, certificate=files[0], key=files[1]
        )
        stack.enter_context(serving(*system.start(place), core, (host, place.port)))
        port = place.port
        if behind:
            port = _free(link.host)
            front = Place(host=link.host, port=port, folder=folder)
            command, environ = nginx(front, place.port)
            stack.enter_context(serving(command, environ, core, (link.host, port)))
        yield f"{'wss' if files[0] else 'ws'}://{link.host}:{port}", files[0]


def _measure(task: Task, link: Link) -> tuple[Received, Published]:
    core = cores()[1]
    encode = msgspec.json.encode
    python = (sys.executable, "-m")
    with (
        Helper([*link.prefix, *python, "bench.slow.reader"], core) as reader,
        Helper([*python, "bench.slow.publisher"], core) as publisher,
    ):
        reader.tell(encode(msgspec.structs.replace(task, pace=link.pace)))
        reader.ready()
        publisher.tell(encode(task))
        publisher.ready()
        begin = f"{time.monotonic() + 0.5:.6f}".encode()
        reader.tell(begin)
        publisher.tell(begin)
        received = reader.found(Received)
        publisher.end()  # if it is not through by now, nobody waits for it
        return received, publisher.found(Published)


def _free(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


__all__ = ["Failed", "Unavailable", "once"]
