"""A namespace at work: its intake, its plugin, its streams, its engine, its readers.

    intake → accept: type, key, permission, rules → engine.append
           → delivered: fan-out, acknowledgement

Everything here runs inside the namespace's slice of the loop.
"""

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import structlog

from broker import config
from broker.auth import Principal
from broker.clock import CallLater, Clock
from broker.codec import Codec
from broker.engines.base import Batch, Engine
from broker.errors import ConfigError, Duplicate, EdgestreamError, Rejected, Unattended
from broker.event import Event, Sender
from broker.fanout import Fanout
from broker.groups import Groups
from broker.ingress import Ingress, Intake, Queued
from broker.leases import Leases
from broker.messages import Publish
from broker.names import Names
from broker.plugin import Plugin
from broker.retained import Retained
from broker.streams import Streams
from broker.upkeep import Upkeep
from broker.waiting import WaitingRoom

log = structlog.get_logger(__name__)

QUANTUM = 32
"""How many publishes of one connection, unless large, are handled before the clock is asked;
so a run has no more events, and a slow reader never waits long behind one."""

BATCH = 256
"""How many publishes, about, go to the engine together."""


class Namespace:
    """A set of topics under one owner. See the module's text for the way through it."""

    def __init__(
        self,
        name: str,
        settings: config.Namespace,
        plugin: Plugin[Any],
        engine: Engine,
        clock: Clock,
        wake: Callable[[], None],
        call_later: CallLater,
    ) -> None:
        self.name = name
        self.settings = settings
        self.plugin = plugin
        self.engine = engine
        self.intake = Intake(settings.queue, wake)
        self.streams = Streams(plugin, engine, settings.history.streams, clock.unix_ms)
        self.retained = Retained(plugin, engine, self.streams, clock.seconds, settings.weight)
        self.fanout = Fanout(self.retained, clock, call_later)
        self.leases = Leases(
            plugin, self.streams, self.retained, self.fanout, clock, call_later, self.say
        )
        self.upkeep = Upkeep(plugin, engine, self.streams, self.retained, clock, call_later)
        self.groups = Groups(
            settings, plugin, self.streams, self.retained, self.fanout, clock, call_later, self.say
        )
        self.waiting = WaitingRoom(self.intake, settings.queue, plugin, clock, call_later)
        self.groups.vacant = self.waiting.admit
        self.accepted = 0
        self.overruns = 0
        self._noted = plugin.addressed | plugin.settling | plugin.closing
        self._clock = clock
        self._wake = wake
        self._complaint = ""
        self._names = Names(engine)
        engine.open(self._delivered, self._failed, self.streams.essence)

    def restore(self) -> None:
        """Go on from what was stored before this process: streams, and what is due in them.

        Raises:
            ConfigError: it cannot be read.
        """
        try:
            self.streams.restore()
        except EdgestreamError as error:
            raise ConfigError(f"namespaces.{self.name}.storage.file", str(error)) from None
        self.retained.position = self.engine.position
        self.streams.forget_some()
        self.groups.restore()
        self.upkeep.begin()
        self.leases.begin()

    @property
    def busy(self) -> bool:
        """Whether something waits that can be handled now."""
        return self.intake.messages > 0 and not self.engine.full

    @property
    def settled(self) -> bool:
        """Whether every publish that came has been answered."""
        return not (self.intake.messages or self.engine.pending or self.waiting)

    def enqueue(self, ingress: Ingress, message: Publish) -> None:
        """Queue one publish of a connection.

        Raises:
            Rejected: ``too_large``.
        """
        most = self.settings.max_body_bytes
        if len(message.body) > most and message.topic not in self.plugin.whole:
            why = f"a body in {self.name} has at most {most} bytes, this one {len(message.body)}"
            raise Rejected("too_large", why)
        self.intake.put(ingress, Queued(message))

    def run(self, until: float, *, fresh: bool = False) -> None:
        """Handle what is queued until it is all done or the clock says `until`.

        Those who come `fresh` have a first turn; with it set, nobody else has one.
        """
        intake = self.intake
        now = self._clock.unix_ms()
        turns = intake.fresh or intake.ready
        late = False
        while turns and not late and not self.engine.full:
            batch = Batch([], [], {}, [])
            while turns and len(batch.ids) < BATCH and not late:
                ingress = turns.popleft()
                self._handle(ingress, batch, now)
                if ingress.queue:
                    intake.ready.append(ingress)
                late = self._clock.seconds() >= until
            self._append(batch)
            if not fresh and not turns:
                turns = intake.ready

    def say(self, key: str, events: Sequence[Event]) -> None:
        """Publish events of one stream in the broker's own name."""
        stream = self.streams.get(key) or self.streams.open(key)
        self.streams.keep(stream)
        for event in events:
            self.plugin.apply(stream.head, event)
        runs = [[event] for event in events]
        self._append(Batch(runs, [0] * len(events), {key: stream.last}, []))

    # ------------------------------------------------------------- publishes

    def _handle(self, ingress: Ingress, batch: Batch, now: int) -> None:
        """One connection's turn: accept its publishes into the head, and into `batch`."""
        publisher = ingress.publisher
        who, sender, codec = publisher.principal, publisher.sender, publisher.codec
        before = len(batch.ids)
        answered = 0
        run: list[Event] = []
        for message in self.intake.take(ingress, QUANTUM):
            id = message.id
            answered = id or answered
            try:
                event = self._accept(message, who, sender, codec, now, batch.expected)
            except Duplicate:  # its fate is the batch's, as if it were stored now
                batch.repeats.append((publisher, id, message.topic))
            except Unattended as error:
                if not self.waiting.keep(publisher, message, error):
                    publisher.refuse(error, id, message.topic)
            except Rejected as error:
                publisher.refuse(error, id, message.topic)
            except Exception:
                log.exception("plugin failed", namespace=self.name, topic=message.topic)
                failure = Rejected("internal", "the broker failed on this message")
                publisher.refuse(failure, id, message.topic)
            else:
                run = batch.add(event, id, run)
        batch.origins.append((ingress, len(batch.ids) - before, answered))
        if ingress.parting is not None and not ingress.queue:
            ingress.part()

    def _accept(
        self,
        message: Queued,
        principal: Principal,
        sender: Sender,
        codec: Codec,
        now: int,
        expected: dict[str, int],
    ) -> Event:
        """Type, key, permission, rules: then the event is part of the head.

        Raises:
            Rejected: and nothing has changed.
        """
        plugin = self.plugin
        raw = message.body
        body_type = self.streams.body_type(message.topic)
        body, extended = body_type.decode(raw, codec)
        topic = body_type.topic  # one string for all events of a topic
        key = plugin.key(topic, body)
        if key is None or message.key is not None:
            key = self.streams.named(message.key, key)
        stream = self.streams.get(key) or self.streams.open(key)
        key = stream.key  # one string for all events of a stream
        if not principal.may("publish", topic, key):
            raise Rejected("forbidden", f"{principal.name} may not publish to {topic}")
        event = Event(topic, key, body, raw, now, sender, codec, extended)
        if message.dedupe is not None:
            self._names.check(event, message.dedupe)
        plugin.accept(stream.head, event)
        if event.dedupe is not None:
            self._names.add(event)
        if key not in expected:
            expected[key] = stream.last
            self.streams.keep(stream)
        return event

    def _append(self, batch: Batch) -> None:
        if not batch.runs and self.engine.immediate:
            self._settle(batch)
            return
        streams = self.streams
        for key in batch.expected:
            streams[key].in_flight += 1
        self.engine.append(batch)
        for run in batch.runs:
            if run[-1].position:
                streams[run[-1].key].last = run[-1].position
        streams.forget_some()
        if self.plugin.changed:
            self.leases.watch()

    # ------------------------------------------------------------- what the engine says

    def _delivered(self, batch: Batch) -> None:
        """A batch is committed: to its readers, and its senders may know."""
        deliver = self.fanout.deliver
        noted = self._noted
        immediate = self.engine.immediate
        for run in batch.runs:
            if not immediate:
                self.plugin.follow(self.streams[run[0].key].committed, run)
            self.retained.position = run[-1].position
            deliver(run)
            if run[0].topic in noted:
                self._note(run)
            for event in run:
                event.body = None  # `raw` stays; see `Streams.decode`
        self.accepted += len(batch.ids)
        self._complaint = ""
        self._settle(batch)

    def _note(self, run: Sequence[Event]) -> None:
        """These events were delivered to their readers, and matter to others as well."""
        topic = run[0].topic
        if topic in self.plugin.addressed:
            for event in run:
                self.leases.address(event)
        self.groups.settle(run[0].key)
        if topic in self.plugin.closing:
            self.upkeep.closed(run[0].key)

    def _failed(self, batch: Batch, error: Exception) -> None:
        """A batch could not be stored: tell its senders, and rebuild the heads it moved."""
        if self._complaint != str(error):  # said once, until something can be stored again
            self._complaint = str(error)
            log.warning("append failed", namespace=self.name, events=len(batch.ids), why=str(error))
        for key in batch.expected:
            self.streams.rebuild(key)
        self.leases.postpone(batch.expected)
        refusal = Rejected("internal", "the message could not be stored")
        refused = zip(batch.events, batch.ids, strict=True)
        for ingress, count, _ in batch.origins:
            for event, id in islice(refused, count):
                ingress.publisher.refuse(refusal, id, event.topic)
        for publisher, id, topic in batch.repeats:
            publisher.refuse(refusal, id, topic)
        self._settle(batch)

    def _settle(self, batch: Batch) -> None:
        """Let the senders of a batch know, now that its fate is decided."""
        self._names.settle(batch)
        for key in batch.expected:
            self.streams[key].in_flight -= 1
        for ingress, _, answered in batch.origins:
            if answered:
                ingress.receipts.done = answered
                ingress.publisher.acknowledge()
        if self.intake.messages:
            self._wake()  # the engine may have been full
