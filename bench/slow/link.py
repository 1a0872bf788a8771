"""The slow link: a network namespace behind a veth pair with a token bucket on it.

Toward the reader, `tbf` sends 512 kbit/s with a burst of 4 KB, and has a queue of 32 KB
before it drops: half a second, as a mobile uplink or an old DSL line has. Back from the
reader there is no limit. Segmentation offload is off, so what is queued are packets.

This needs root. Where it is not permitted, the reader reads slowly by itself, and says so.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

NAME = "edgeslow"
KBIT = 512
BURST = 4 << 10
QUEUE = 32 << 10


class Link(Struct, frozen=True, kw_only=True):
    """Where the reader is, as seen from the system.

    Attributes:
        host: the address that the system listens on.
        prefix: what runs a command at the far end.
        pace: how many bytes a second the reader has to read by itself; 0: the link is slow.
        about: what it is, for the result.
    """

    host: str
    about: str
    prefix: tuple[str, ...] = ()
    pace: int = 0


class NotPermitted(Exception):
    """There can be no network namespace here; with why."""


@contextmanager
def slow_link(
    kbit: int = KBIT, *, number: int = 0, congestion: str = "", paced: bool = False
) -> Iterator[Link]:
    """A link of `kbit` kbit/s, for as long as it is in use.

    Args:
        number: of several at once, which one.
        congestion: TCP's congestion control toward the reader, if not the machine's.
        paced: do not try a network namespace.
    """
    name = f"{NAME}-{os.getpid()}-{number}"
    try:
        if paced:
            raise NotPermitted("as it was asked for")
        _clear_leftovers()
        try:
            yield _set_up(name, number, kbit, congestion)
        finally:
            _remove(name)
    except NotPermitted as why:
        yield _paced(kbit, str(why))


def _paced(kbit: int, why: str) -> Link:
    pace = kbit * 1000 // 8
    about = (
        f"no network namespace ({why}): a throttled reader over loopback instead, {pace / 1000:g} "
        "KB/s by reading slowly with a small SO_RCVBUF"
    )
    return Link(host="127.0.0.1", pace=pace, about=about)


def _set_up(name: str, number: int, kbit: int, congestion: str) -> Link:
    near, far = _ends(name)
    net = f"198.18.{os.getpid() % 256}"  # for benchmarks of networks (RFC 2544)
    first = 4 * number % 256
    host, peer = f"{net}.{first + 1}", f"{net}.{first + 2}"
    _do("ip", "netns", "add", name)
    _do("ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", name)
    _do("ip", "addr", "add", f"{host}/30", "dev", near)
    _do("ip", "link", "set", near, "up", "gso_max_segs", "1")
    _do("ip", "-n", name, "addr", "add", f"{peer}/30", "dev", far)
    _do("ip", "-n", name, "link", "set", far, "up")
    bucket = ("rate", f"{kbit}kbit", "burst", str(BURST), "limit", str(QUEUE))
    _do("tc", "qdisc", "replace", "dev", near, "root", "tbf", *bucket)
    if congestion:
        route = (f"{net}.{first}/30", "dev", near, "proto", "kernel", "scope", "link", "src", host)
        _do("ip", "route", "change", *route, "congctl", congestion)
    machine = Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
    about = (
        f"a network namespace, tc tbf rate {kbit}kbit burst {BURST} limit {QUEUE} toward the "
        f"reader; TCP {congestion or machine}"
    )
    return Link(host=host, about=about, prefix=("ip", "netns", "exec", name))


def _ends(name: str) -> tuple[str, str]:
    """The names of its interfaces, here and there; Linux allows 15 bytes."""
    _, pid, number = name.rsplit("-", 2)
    return f"slow{pid}-{number}", f"far{pid}-{number}"


def _do(*command: str) -> None:
    if not shutil.which(command[0]):
        raise NotPermitted(f"there is no {command[0]}")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotPermitted(f"{' '.join(command[:3])}: {done.stderr.strip()}")


def _remove(name: str) -> None:
    """The namespace, and both ends of the pair with the queue on it."""
    near = _ends(name)[0]
    for command in (["ip", "link", "del", near], ["ip", "netns", "del", name]):
        if shutil.which("ip"):
            subprocess.run(command, capture_output=True, check=False)


def _clear_leftovers() -> None:
    """Of runs that were killed."""
    for path in Path("/run/netns").glob(f"{NAME}-*"):
        if not Path("/proc", path.name.split("-")[1]).exists():
            _remove(path.name)
