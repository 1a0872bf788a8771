"""What `/metrics` tells, read from the broker's own counts when it is asked.

The hot path only adds to plain integers. Labels are namespaces, error codes and
close codes: never a key, a session or a token.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from broker.namespace import Namespace
    from broker.transports.port import Port

LAG_PERIOD = 0.1

Family = type[GaugeMetricFamily | CounterMetricFamily]

NAMESPACE: Sequence[tuple[str, Family, str, Callable[["Namespace"], int]]] = (
    (
        "events_received", CounterMetricFamily, "Publishes that came in.",
        lambda namespace: namespace.intake.handled + namespace.intake.messages,
    ),
    (
        "events_accepted", CounterMetricFamily, "Publishes that were accepted.",
        lambda namespace: namespace.accepted,
    ),
    (
        "events_delivered", CounterMetricFamily, "Events offered to connections.",
        lambda namespace: namespace.fanout.delivered,
    ),
    (
        "slice_overruns", CounterMetricFamily,
        "Turns in which its publishes, whatever the reason, took far more than its share.",
        lambda namespace: namespace.overruns,
    ),
    (
        "queue_messages", GaugeMetricFamily, "Publishes that wait to be handled.",
        lambda namespace: namespace.intake.messages,
    ),
    (
        "queue_bytes", GaugeMetricFamily, "Their bodies' bytes.",
        lambda namespace: namespace.intake.bytes,
    ),
    (
        "streams", GaugeMetricFamily, "Streams with a state.",
        lambda namespace: len(namespace.streams),
    ),
    (
        "group_members", GaugeMetricFamily, "Places in work queues.",
        lambda namespace: namespace.groups.members,
    ),
    (
        "untaken", GaugeMetricFamily, "Events that no worker has taken up yet.",
        lambda namespace: namespace.groups.untaken,
    ),
    (
        "unattended", GaugeMetricFamily, "Publishes that wait for a worker to come.",
        lambda namespace: len(namespace.waiting),
    ),
)  # fmt: skip
"""What each namespace counts."""

STORAGE: Sequence[tuple[str, Family, str]] = (
    ("bytes", GaugeMetricFamily, "The size of a durable namespace's file."),
    ("log_bytes", GaugeMetricFamily, "The size of its write-ahead log."),
    ("rows", GaugeMetricFamily, "Commits in it that are not stored by stream yet."),
    ("waiting_bytes", GaugeMetricFamily, "What waits to be committed, as a history counts it."),
    ("commits", CounterMetricFamily, "Commits made."),
    ("batches", CounterMetricFamily, "Batches committed in them."),
    ("commit_seconds", CounterMetricFamily, "How long they took."),
    ("commit_seconds_worst", GaugeMetricFamily, "The longest since the last scrape."),
    ("failures", CounterMetricFamily, "How often something could not be stored."),
)
"""What `FileFigures` has, in its order."""


class LoopLag:
    """How late the loop runs what is due, in seconds: the last, and the worst since asked."""

    def __init__(
        self,
        now: Callable[[], float],
        call_later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self._now = now
        self._call_later = call_later
        self._due = 0.0
        self.last = 0.0
        self.worst = 0.0

    def start(self) -> None:
        self._due = self._now() + LAG_PERIOD
        self._call_later(LAG_PERIOD, self._tick)

    def take_worst(self) -> float:
        worst, self.worst = self.worst, self.last
        return worst

    def _tick(self) -> None:
        self.last = max(0.0, self._now() - self._due)
        self.worst = max(self.worst, self.last)
        self.start()


class BrokerCollector(Collector):
    """The broker's counts, as Prometheus wants them."""

    def __init__(self, port: "Port", lag: LoopLag) -> None:
        self._port = port
        self._lag = lag

    def collect(self) -> Iterable[Metric]:
        yield from self._connections()
        yield from self._namespaces()
        yield from self._engines()
        yield self._by_code("errors_sent", "Errors sent, by code.", self._port.sessions.errors)
        yield self._by_code("connections_refused", "By close code.", self._port.refused)
        lag = GaugeMetricFamily(
            "edgestream_loop_lag_seconds",
            "How late the event loop runs what is due.",
            labels=["stat"],
        )
        lag.add_metric(["last"], self._lag.last)
        lag.add_metric(["worst_since_last_scrape"], self._lag.take_worst())
        yield lag

    def _connections(self) -> Iterable[Metric]:
        sessions = self._port.sessions
        yield _gauge("connections", "Open WebSockets, and requests under way.", len(sessions.live))
        opened = CounterMetricFamily("edgestream_connections_opened", "Connections ever opened.")
        opened.add_metric([], sessions.opened)
        yield opened
        subscriptions = sum(len(session.reader) for session in sessions.live)
        yield _gauge("subscriptions", "Standing subscriptions.", subscriptions)

    def _namespaces(self) -> Iterable[Metric]:
        families = [
            family(f"edgestream_{name}", help, labels=["namespace"])
            for name, family, help, _ in NAMESPACE
        ]
        depth = GaugeMetricFamily(
            "edgestream_outbox_depth",
            "Events, or streams of readers that are behind, that wait for a socket.",
            labels=["namespace"],
        )
        for namespace in self._port.router.namespaces:
            label = [namespace.name]
            for family, (*_, count) in zip(families, NAMESPACE, strict=True):
                family.add_metric(label, count(namespace))
            queues = (s.reader.queues.get(namespace) for s in self._port.sessions.live)
            depth.add_metric(label, sum(queue.depth for queue in queues if queue is not None))
        yield from (*families, depth)

    def _engines(self) -> Iterable[Metric]:
        label = ["namespace"]
        events = GaugeMetricFamily("edgestream_history_events", "Retained events.", labels=label)
        size = GaugeMetricFamily(
            "edgestream_history_bytes", "What they count in the history.", labels=label
        )
        files = {name: family(f"edgestream_storage_{name}", help, labels=label)
                 for name, family, help in STORAGE}  # fmt: skip
        for namespace in self._port.router.namespaces:
            name = [namespace.name]
            figures = namespace.engine.figures()
            events.add_metric(name, figures.events)
            size.add_metric(name, figures.bytes)
            if figures.file is not None:
                for figure, value in zip(files.values(), figures.file, strict=True):
                    figure.add_metric(name, value)
        yield from (events, size, *files.values())

    def _by_code(self, name: str, help: str, counts: "dict[str, int] | dict[int, int]") -> Metric:
        family = CounterMetricFamily(f"edgestream_{name}", help, labels=["code"])
        for code, count in sorted(counts.items()):
            family.add_metric([str(code)], count)
        return family


def _gauge(name: str, help: str, value: float) -> Metric:
    family = GaugeMetricFamily(f"edgestream_{name}", help)
    family.add_metric([], value)
    return family


def exposition(collector: BrokerCollector) -> bytes:
    """The counts in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return generate_latest(registry)
