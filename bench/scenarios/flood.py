"""`flood`: 200 sessions publish as fast as the system reads, and a bystander does not.

The bystander is a process of its own: 50 events a second of another namespace, on
connections of its own, or on the one connection that gets all of the flood, too.
"""

from msgspec.structs import replace

from bench.plan import Measured, Part, Variant
from bench.scenario import Column, Scenario, Settings, cpu_micros

COUNT = 200
ARRAY = 25
BUFFER = 65_536
WINDOW = 50

QUICK = ("edgestream", "nats-server", "bun", "socket.io")
"""Those that get rid of what 200 sockets hold within seconds."""

ONE = "one publisher"
BOUNDED = f"{WINDOW} under way"
SHARED = "one connection for all"


def bystander(**options: object) -> Part:
    """50 events a second of the namespace `workflow`."""
    part = Part(
        role="bystander",
        namespace="workflow",
        topic="workflow.bench.tick",
        prefix="w",
        keyed=True,
        turns=False,
        rate=50,
        late=1.5,
    )
    return replace(part, **options)


def variants(settings: Settings) -> list[Variant]:
    """Many publishers that keep their sockets full; one; many that wait for what they sent;
    and the bystander on the connection that gets the flood."""
    count = COUNT // settings.scale
    found = []
    for batch, how in ((1, "one per message"), (ARRAY, "arrays")):
        flood = Part(sessions=count, publishers=count, batch=batch, buffer=BUFFER, yields=True)
        found.append(Variant(name=how, parts=(flood, bystander()), short=QUICK))
        one = replace(flood, publishers=1, buffer=0)
        found.append(Variant(name=f"{how}, {ONE}", parts=(one, bystander())))
        few = replace(flood, window=WINDOW)
        found.append(Variant(name=f"{how}, {BOUNDED}", parts=(few, bystander()), short=()))
        reader = bystander(namespace="all", subscribe="one", watch=count)
        shared = (replace(flood, subscribe="none"), reader)
        name = f"{how}, {SHARED}"
        found.append(Variant(name=name, parts=shared, base=how, short=("edgestream", "bun")))
    return found


def figures(measured: Measured) -> dict[str, float]:
    """Tokens of the flood, wherever they were received; latency of the bystander alone."""
    load, other, usage = measured.parts["load"], measured.parts["bystander"], measured.usage
    tokens = load.delivered + other.watched_delivered
    merged, received = load.merged + other.merged, load.received + other.watched
    return {
        "tokens/s": tokens,
        "p50 ms": other.latency.p50 / 1e3,
        "p99 ms": other.latency.p99 / 1e3,
        "max ms": other.latency.max / 1e3,
        "lag p99 ms": other.lag.p99 / 1e3,
        "cpu µs/token": cpu_micros(measured, tokens),
        "cpu": usage.share * 100,
        "merged": 100 * merged / received if received else 0.0,
        "generator cpu": 100 * (load.share + other.share),
        "rss MiB": usage.rss / 2**20,
    }


FLOOD = Scenario(
    name="flood",
    about="200 sessions publish as fast as they are read: what does a bystander notice?",
    variants=variants,
    figures=figures,
    columns=(
        Column("tokens/s", "tokens/s", "{:,.0f}", per=("edgestream",)),
        Column("p50 ms", "bystander p50 ms", "{:.2f}"),
        Column("p99 ms", "p99 ms", "{:.2f}", per=("edgestream",), spread=True, versus=True),
        Column("max ms", "max ms"),
        Column("lag p99 ms", "its lag p99 ms", "{:.2f}"),
        Column("cpu µs/token", "CPU µs/token", "{:.2f}"),
        Column("cpu", "CPU", "{:.0f} %"),
        Column("merged", "merged", "{:.0f} %"),
        Column("generator cpu", "gen CPU", "{:.0f} %"),
        Column("rss MiB", "RSS MiB", "{:.0f}"),
    ),
)
