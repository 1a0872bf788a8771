"""Stand-ins for what lies around a module: a clock, a wire, a publisher, a slow engine."""

import heapq
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import Raw

from broker import config
from broker.auth import ANONYMOUS, Principal
from broker.codec import JSON, Codec
from broker.contents import Snapshot
from broker.engines.base import Batch, Essence, Figures
from broker.engines.memory import MemoryEngine
from broker.errors import Rejected
from broker.ingress import Ingress, Intake
from broker.messages import Publish
from broker.namespace import Namespace
from broker.outbox import Outbox, Receipts
from broker.plugin import Event, Sender
from broker.queue import Queue
from broker.replay import Content, Replay, ReplayEnd, Subscription
from broker.work import Worker
from plugins.open import OpenOptions, OpenPlugin

SENDER = Sender("anonymous", None, "c1")


class FakeClock:
    """Time that stands still until it is moved."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def unix_ms(self) -> int:
        return int(self.now * 1000)

    def seconds(self) -> float:
        return self.now


class FakeWire:
    """Keeps what is sent, decoded; takes as much as it is told to."""

    def __init__(self) -> None:
        self.writable = True
        self.width = 1 << 20
        self.open = True
        self.sent: list[list[dict[str, Any]]] = []
        self.closed: list[int] = []
        self.held: set[str] = set()

    @property
    def outlet(self) -> "FakeWire":
        return self

    @property
    def paused(self) -> bool:
        return not self.writable

    @property
    def room(self) -> int:
        return self.width if self.writable else 0

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [message for payload in self.sent for message in payload]

    def send(self, payload: bytes) -> None:
        whole = msgspec.json.decode(payload)
        self.sent.append(whole if isinstance(whole, list) else [whole])
        assert self.writable or self.sent[-1][0]["op"] == "goodbye"

    def close(self, code: int, reason: str) -> None:
        self.closed.append(code)
        self.open = False

    def hold(self, reason: str) -> None:
        self.held.add(reason)

    def release(self, reason: str) -> None:
        self.held.discard(reason)


class Timers:
    """A loop's `call_later`, and its time, which passes when it is told to."""

    def __init__(self, clock: FakeClock | None = None) -> None:
        self.clock = clock or FakeClock()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._due)

    def __call__(self, delay: float, call: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._due, (self.clock.now + delay, self._count, call))

    @property
    def waiting(self) -> int:
        """How many calls are due some time."""
        return len(self._due)

    def pass_(self, seconds: float) -> None:
        """Let so much time pass, and what is due in it happen."""
        end = self.clock.now + seconds
        while self._due and self._due[0][0] <= end:
            self.clock.now, _, call = heapq.heappop(self._due)
            call()
        self.clock.now = end


class FakePublisher:
    """A connection that publishes, and writes down what it is told."""

    def __init__(self, name: str = "c1") -> None:
        self.sender = Sender("anonymous", None, name)
        self.errors: list[tuple[int | None, str]] = []
        self.holds = 0
        self.told: list[dict[str, Any]] = []
        self.ingress = Ingress(self)
        self.wire = FakeWire()
        self.outbox = Outbox(JSON, self.wire, lambda outbox: None, lambda outbox: None)
        self.outbox.receipts.append(self.ingress.receipts)

    beside = False
    principal: Principal = ANONYMOUS
    codec: Codec = JSON

    @property
    def acked(self) -> int:
        return self.ingress.receipts.done

    def refuse(self, error: Rejected, id: int | None, topic: str) -> None:
        self.errors.append((id, error.code))

    def acknowledge(self) -> None:
        pass

    def defer(self, receipts: Receipts) -> None:
        self.outbox.defer(receipts)

    def forget(self, receipts: Receipts) -> None:
        self.outbox.forget(receipts)

    def sent(self) -> list[dict[str, Any]]:
        """What has been written to its socket since this was asked last."""
        self.outbox.flush()
        while not self.outbox.empty:
            self.outbox.flush()
        messages = self.wire.messages
        self.wire.sent.clear()
        return messages

    @property
    def worker(self) -> Worker:
        return Worker(self.sender, self.outbox)

    def hold(self, intake: Intake) -> None:
        self.holds += 1

    def release(self, intake: Intake) -> None:
        self.holds -= 1

    def tell(self, data: bytes) -> None:
        self.told.append(msgspec.json.decode(data))

    def reads(self, fanout: Any, event: Event) -> bool:
        return False


class CountingEngine:
    """The memory engine, and how many of its events were read again."""

    def __init__(self) -> None:
        self._engine = MemoryEngine(config.History(events=200_000))
        self.read_again = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def read(self, key: str, after: int, limit: int) -> Sequence[Event]:
        events = self._engine.read(key, after, limit)
        self.read_again += len(events)
        return events


class LateEngine:
    """An engine that stores in `append` and commits, or fails, when it is told to."""

    immediate = False
    epoch = "late"
    full = False
    failure: str | None = None

    def __init__(self) -> None:
        self.events: dict[str, list[Event]] = {}
        self.ends: dict[str, int] = {}
        self.waiting: list[Batch] = []
        self.position = 0
        self._delivered: Callable[[Batch], None]
        self._failed: Callable[[Batch, Exception], None]

    def open(
        self,
        delivered: Callable[[Batch], None],
        failed: Callable[[Batch, Exception], None],
        essence: Essence,
    ) -> None:
        self._delivered, self._failed = delivered, failed

    def restore(self, fold: Callable[[Sequence[Event]], None]) -> None:
        for events in self.events.values():
            fold(events)

    def close(self) -> None:
        pass

    @property
    def pending(self) -> int:
        return len(self.waiting)

    def append(self, batch: Batch) -> None:
        if self.failure is not None:
            self._failed(batch, OSError(self.failure))
            return
        for key, expected in batch.expected.items():
            assert self.last(key) == expected, "not what the head has"
        for event in batch.events:
            self.position += 1
            event.position = self.ends[event.key] = self.position
        self.waiting.append(batch)

    def commit(self, count: int = 1) -> None:
        for batch in self.waiting[:count]:
            for event in batch.events:
                self.events.setdefault(event.key, []).append(event)
        ready, self.waiting = self.waiting[:count], self.waiting[count:]
        for batch in ready:
            self._delivered(batch)

    def fail(self) -> None:
        """The first batch, and every one behind it."""
        lost, self.waiting = self.waiting, []
        self.ends = {key: log[-1].position for key, log in self.events.items() if log}
        for batch in lost:
            self._failed(batch, OSError("no space left"))

    def read(self, key: str, after: int, limit: int) -> Sequence[Event]:
        return [e for e in self.events.get(key, []) if e.position > after][:limit]

    def floor(self, key: str) -> int:
        return 0

    def whole(self, key: str, after: int) -> bool:
        return True

    def keys(self) -> Sequence[str]:
        return list(self.events)

    def last(self, key: str) -> int:
        return self.ends.get(key, 0)

    def has_name(self, key: str, name: str) -> bool:
        return any(e.dedupe == name for e in self.events.get(key, []))

    def forget(self, key: str) -> None:
        self.events.pop(key, None)
        self.ends.pop(key, None)

    def replace(self, key: str, old: Sequence[Event], new: Sequence[Event]) -> None:
        first = self.events[key].index(old[0])
        self.events[key][first : first + len(old)] = new

    def trim(self, now: int) -> bool:
        return False

    def figures(self) -> Figures:
        return Figures(sum(map(len, self.events.values())), 0)


def namespace(
    plugin: Any = None, engine: Any = None, timers: Timers | None = None, **settings: Any
) -> Namespace:
    """A namespace of the open plugin, or of another, that nobody schedules."""
    plugin = plugin or OpenPlugin("workflow", OpenOptions())
    table = msgspec.convert({"plugin": "open", **settings}, config.Namespace)
    engine = engine or MemoryEngine(table.history)
    timers = Timers() if timers is None else timers
    return Namespace(plugin.namespace, table, plugin, engine, timers.clock, lambda: None, timers)


class Reader:
    """One connection's outbox on one namespace, driven as a session drives it."""

    def __init__(self, source: Namespace | None = None, weight: int = 1) -> None:
        self.source = source or namespace()
        self.wire = FakeWire()
        self.touched = False
        self.outbox = Outbox(JSON, self.wire, self.touch, Outbox.go_on)
        self.queue = Queue(self.outbox, JSON, self.source.retained, weight)
        self.standing: dict[tuple[str, str | None], Subscription] = {}
        self.last_id = 0

    def touch(self, outbox: Outbox) -> None:
        assert not self.touched
        self.touched = True

    def subscribe(
        self, pattern: str, key: str | None, replay: bool = False, **wishes: Any
    ) -> Subscription:
        self.last_id += 1
        wish = Subscription(self.last_id, pattern, key, [self.source], **wishes)
        older = self.standing.get((pattern, key))
        self.queue.add(wish, replaces=older)
        self.source.fanout.subscriptions.add(pattern, key, self.queue)
        if replay:
            self.replay(wish, Snapshot(wish))
        if older is not None:
            self.remove(older)
        self.standing[pattern, key] = wish
        return wish

    def replay(self, wish: Subscription, content: Content) -> None:
        self.queue.replay(Replay(wish, content, ReplayEnd(wish.id, 1), None))

    def unsubscribe(self, pattern: str, key: str | None) -> None:
        self.remove(self.standing.pop((pattern, key)))

    def remove(self, wish: Subscription) -> None:
        self.source.fanout.subscriptions.remove(wish.pattern, wish.key, self.queue)
        self.queue.remove(wish)

    def flush(self) -> None:
        self.touched = False
        self.source.retained.begin_turn()
        self.outbox.flush()

    def drain(self) -> None:
        self.wire.writable = True
        if not self.touched:
            self.outbox.touch()
        while self.touched:
            self.flush()

    def told(self) -> list[dict[str, Any]]:
        """Everything that came since this was asked last."""
        self.drain()
        messages = self.wire.messages
        self.wire.sent.clear()
        return messages


def publish(topic: str, body: Any, id: int = 0, **fields: Any) -> Publish:
    """An operation as a session would have decoded it."""
    named = {"id": id} if id else {}
    return Publish(topic, Raw(msgspec.json.encode(body)), **named, **fields)


def say(target: Namespace, publisher: FakePublisher, *messages: Publish) -> None:
    """Queue publishes of one connection, and let the namespace handle all there is."""
    for message in messages:
        target.enqueue(publisher.ingress, message)
    target.run(float("inf"))


def event(
    topic: str = "workflow.a",
    key: str = "k",
    body: Any = 0,
    *,
    sender: Sender = SENDER,
    time: int = 0,
    dedupe: str | None = None,
) -> Event:
    """An event that no engine has seen yet."""
    made = Event.of(topic, key, body, time, sender)
    made.dedupe = dedupe
    return made
