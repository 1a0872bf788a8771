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
    from broker.transports.port import Port

LAG_PERIOD = 0.1

STORAGE: Sequence[tuple[str, type[GaugeMetricFamily | CounterMetricFamily], str]] = (
    ("bytes", GaugeMetricFamily, "The size of a durable namespace's file."),
    ("log_bytes", GaugeMetricFamily, "The size of its write-ahead log."),
    ("rows", GaugeMetricFamily, "Commits in it that are not stored by stream yet."),
    ("waiting_bytes", GaugeMetricFamily, "Encoded events that wait to be committed."),
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
        label = ["namespace"]
        received = CounterMetricFamily(
            "edgestream_events_received", "Publishes that came in.", labels=label
        )
        accepted = CounterMetricFamily(
            "edgestream_events_accepted", "Publishes that were accepted.", labels=label
        )
        delivered = CounterMetricFamily(
            "edgestream_events_delivered", "Events offered to connections.", labels=label
        )
        overruns = CounterMetricFamily(
            "edgestream_slice_overruns", "Turns that a namespace overran.", labels=label
        )
        messages = GaugeMetricFamily(
            "edgestream_queue_messages", "Publishes that wait to be handled.", labels=label
        )
        size = GaugeMetricFamily("edgestream_queue_bytes", "Their bodies' bytes.", labels=label)
        waiting = GaugeMetricFamily(
            "edgestream_outbox_depth",
            "Events, or streams of readers that are behind, that wait for a socket.",
            labels=label,
        )
        streams = GaugeMetricFamily("edgestream_streams", "Streams with a state.", labels=label)
        members = GaugeMetricFamily(
            "edgestream_group_members", "Places in work queues.", labels=label
        )
        untaken = GaugeMetricFamily(
            "edgestream_untaken", "Events that no worker has taken up yet.", labels=label
        )
        unattended = GaugeMetricFamily(
            "edgestream_unattended", "Publishes that wait for a worker to come.", labels=label
        )
        for namespace in self._port.router.namespaces:
            name = [namespace.name]
            intake = namespace.intake
            received.add_metric(name, intake.handled + intake.messages)
            accepted.add_metric(name, namespace.accepted)
            delivered.add_metric(name, namespace.fanout.delivered)
            overruns.add_metric(name, namespace.overruns)
            messages.add_metric(name, intake.messages)
            size.add_metric(name, intake.bytes)
            streams.add_metric(name, len(namespace.streams))
            members.add_metric(name, namespace.groups.members)
            untaken.add_metric(name, namespace.groups.untaken)
            unattended.add_metric(name, len(namespace.waiting))
            queues = (s.reader.queues.get(namespace) for s in self._port.sessions.live)
            waiting.add_metric(name, sum(queue.depth for queue in queues if queue is not None))
        yield from (received, accepted, delivered, overruns, messages, size, waiting, streams)
        yield from (members, untaken, unattended)

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
