"""`slow-reader`: eight answers and a bystander on one connection behind 512 kbit/s.

Eight sessions of 100 tokens a second, and 50 events a second of another namespace: about
three times what the link takes.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from bench.plan import Measured, Times, Variant
from bench.scenario import Column, Cores, Scenario, Settings
from bench.slow.measure import measure
from bench.slow.plan import Way
from bench.systems import System

OTHER = "cubic"
"""The congestion control of most machines, for those that have another one."""

TCP = Path("/proc/sys/net/ipv4")

PLAIN = "in the clear"


def variants(settings: Settings) -> list[Variant]:
    """In the clear, under TLS, behind nginx; and with the congestion control of others."""
    found = [
        Variant(name=PLAIN, way=Way()),
        Variant(name="TLS", way=Way(transport="tls")),
        Variant(name="nginx", way=Way(transport="nginx")),
    ]
    here, available = (
        (TCP / name).read_text().split()
        for name in ("tcp_congestion_control", "tcp_available_congestion_control")
    )
    if OTHER in available and OTHER not in here:
        way = Way(congestion=OTHER)
        found.append(Variant(name=f"{PLAIN}, TCP {OTHER}", way=way, short=()))
    return found


def together(
    systems: Sequence[System], variant: Variant, times: Times, cores: Cores
) -> list[Measured]:
    """Each behind a link of its own."""
    return measure(systems, variant.way, times, cores)


def figures(measured: Measured) -> Mapping[str, float]:
    """The reader's, and what the system used while it was published."""
    found, usage = measured.more, measured.usage
    return dict(found.figures) | {"cpu": usage.share * 100, "rss MiB": usage.rss / 2**20}


SLOW = Scenario(
    name="slow-reader",
    about="one connection behind 512 kbit/s, with 8 sessions of 100 tokens/s and a bystander "
    "(50 events/s of another namespace) on it: does all text come, and how late is the bystander?",
    variants=variants,
    figures=figures,
    together=together,
    settings=lambda chosen: replace(
        chosen, times=chosen.slow, repeat=chosen.repeat if chosen.full else 1
    ),
    columns=(
        Column("text %", "text", "{:.1f} %", of=min),
        Column("text p50 s", "late p50 s", "{:.2f}"),
        Column("text p99 s", "p99 s", "{:.2f}"),
        Column("drain s", "complete after s", "{:.1f}", infinite="never", of=max),
        Column("alive s", "connection", "ended at {:.0f} s", infinite="lives", of=min),
        Column("p50 s", "bystander p50 s", "{:.2f}"),
        Column("p99 s", "p99 s", "{:.2f}", spread=True),
        Column("max s", "max s", "{:.2f}"),
        Column("first third p99 s", "first third's p99", "{:.2f}"),
        Column("last third p99 s", "last third's", "{:.2f}"),
        Column("KB", "KB", "{:,.0f}"),
        Column("messages", "messages", "{:,.0f}"),
        Column("merged %", "merged", "{:.0f} %"),
        Column("cpu", "CPU", "{:.0f} %"),
        Column("rss MiB", "RSS MiB", "{:.0f}"),
    ),
)
