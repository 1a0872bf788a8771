"""The hot part of a run: publishing on time, and the measured window.

Each entry (a message of one token, or an array of one publisher's sessions) is
due once a tick; the entries are spread evenly over the tick.
"""

import os
import time
from array import array
from collections.abc import Sequence

from msgspec import Struct

from bench import procfs
from bench.frames import Headers
from bench.loop import Loop
from bench.peer import Peer
from bench.plan import Generator, Latency, Load, Result, Usage
from bench.wire import Edgestream

Entry = tuple[Peer, Sequence[int]]
"""What is sent in one message: a publisher and its sessions."""

BURST = 32
"""Tokens sent between two looks at the sockets."""

IN_FLIGHT = 4
"""Tokens per session that an unpaced load sends ahead of what came back."""

NAP = 0.001
"""The longest wait for the sockets, so how finely a load is paced, in seconds."""

MAX_SHARE = 0.85
MAX_LAG_MS = 5.0
MAX_FOREIGN = 0.05
MAX_BUSY = 0.97

_now = time.monotonic_ns


class _Mark(Struct, frozen=True):
    """All counters at one end of the window."""

    time: int
    sent: int
    received: int
    latencies: int
    lags: int
    busy: float
    system: procfs.Sample
    generator: procfs.Sample


class Pace:
    """Publishes one load, and measures its window."""

    def __init__(
        self, load: Load, wire: Edgestream, headers: Headers, loop: Loop, entries: list[Entry]
    ) -> None:
        self.load = load
        self.wire = wire
        self.headers = headers
        self.loop = loop
        self.entries = entries
        self.lags = array("q")
        self._pids = procfs.tree(load.pid or os.getpid())
        wire.prepare(1000 + round(load.rate * (load.warmup + load.seconds)))

    def run(self) -> Result:
        """The warm-up, and then the window."""
        start = _now()
        opens = start + round(self.load.warmup * 1e9)
        closes = opens + round(self.load.seconds * 1e9)
        done = self._until(opens, start, 0)
        before = self._mark()
        self._until(closes, start, done)
        return self._result(before, self._mark())

    def _until(self, end: int, start: int, done: int) -> int:
        """Send and read until `end`; the number of messages sent since `start`."""
        entries, ledger, rate = len(self.entries), self.loop.ledger, self.load.rate
        each = self.load.sessions / entries
        burst = max(1, round(BURST / each))
        in_flight = round(IN_FLIGHT * self.load.sessions)
        while (now := _now()) < end and self.loop.peers:
            if rate:
                due = (now - start) * entries * rate // 1_000_000_000
            else:
                due = round((ledger.received + in_flight) / each)
            if done < due:
                stop = min(due, done + burst)
                if rate:
                    late = now - start - (done + 1) * 1_000_000_000 // (entries * rate)
                    self.lags.extend([late] * (stop - done))
                if self.load.batch:
                    self._send_arrays(done, stop)
                else:
                    self._send_singly(done, stop)
                done = stop
            self.loop.pump(0 if done < due else NAP)
        return done

    def _send_singly(self, first: int, stop: int) -> None:
        entries, wire, ledger = self.entries, self.wire, self.loop.ledger
        sent, stamps, acks, now = ledger.sent, ledger.stamps, self.load.acks, _now
        tokens, sessions, start = wire.tokens, wire.sessions, wire.start_without_id
        headers, count = self.headers.ready, len(entries)
        if stop // count + 1 >= len(tokens):
            wire.prepare(len(tokens) + 1000)
        for number in range(first, stop):
            peer, (session,) = entries[number % count]
            index = sent[session]
            if acks:
                peer.last_id += 1
                start = wire.start(peer.last_id)
            payload = start + sessions[session] + tokens[index]
            frame = headers[len(payload)] + payload
            sent[session] = index + 1
            stamps[session].append(now())
            if not peer.pending:  # as `Loop.send` does, but for the call
                try:
                    taken = peer.send(frame)
                except OSError:
                    taken = 0
                if taken == len(frame):
                    continue
                frame = frame[taken:]
            self.loop.send(peer, frame)

    def _send_arrays(self, first: int, stop: int) -> None:
        entries, wire, ledger = self.entries, self.wire, self.loop.ledger
        sent, stamps, acks = ledger.sent, ledger.stamps, self.load.acks
        tokens, sessions = wire.tokens, wire.sessions
        for number in range(first, stop):
            peer, mine = entries[number % len(entries)]
            items: list[bytes] = []
            now = _now()
            for session in mine:
                index = sent[session]
                if index == len(tokens):
                    wire.prepare(index + 1000)
                if acks:
                    peer.last_id += 1
                    start = wire.start(peer.last_id)
                else:
                    start = wire.start_without_id
                items.append(start + sessions[session] + tokens[index])
                sent[session] = index + 1
                stamps[session].append(now)
            self.loop.send(peer, self.headers.frame(wire.pack(items)))

    def _mark(self) -> _Mark:
        ledger = self.loop.ledger
        try:
            system = procfs.sample(self._pids)
        except OSError:
            ledger.problem("the system's process has ended")
            system = procfs.Sample(0.0, 0.0, 0)
        return _Mark(
            _now(),
            sum(ledger.sent),
            ledger.received,
            len(ledger.latencies),
            len(self.lags),
            procfs.core_busy(self.load.system_core),
            system,
            procfs.sample([os.getpid()]),
        )

    def _result(self, before: _Mark, after: _Mark) -> Result:
        wall = (after.time - before.time) / 1e9
        delivered = after.received - before.received
        cpu = after.system.cpu - before.system.cpu
        waited = after.system.waited - before.system.waited
        foreign = max(0.0, after.busy - before.busy - cpu)  # counted in ticks, so roughly
        if after.system.threads == 1:
            foreign = waited  # exact; several threads wait for each other, too
        usage = Usage(cpu=cpu, wall=wall, waited=waited, foreign=foreign, rss=after.system.rss)
        lags = sorted(self.lags[before.lags : after.lags])
        generator = Generator(
            share=(after.generator.cpu - before.generator.cpu) / wall,
            waited=(after.generator.waited - before.generator.waited) / wall,
            lag_p99=percentile(lags, 0.99) / 1e6,
            lag_max=percentile(lags, 1.0) / 1e6,
        )
        latencies = sorted(self.loop.ledger.latencies[before.latencies : after.latencies])
        offered = (after.sent - before.sent) / wall
        return Result(
            offered=offered,
            delivered=delivered / wall,
            cpu_us=cpu / delivered * 1e6 if delivered else 0.0,
            latency=Latency(
                p50=percentile(latencies, 0.5) / 1e3,
                p99=percentile(latencies, 0.99) / 1e3,
                max=percentile(latencies, 1.0) / 1e3,
            ),
            usage=usage,
            generator=generator,
            doubts=self._doubts(generator, usage),
            notes=_notes(usage, offered, delivered / wall),
        )

    def _doubts(self, generator: Generator, usage: Usage) -> list[str]:
        if not self.load.rate:
            return []
        doubts = []
        if generator.share > MAX_SHARE:
            doubts.append(f"the generator used {generator.share:.0%} of its core")
        if generator.lag_p99 > MAX_LAG_MS:
            doubts.append(f"the generator fired {generator.lag_p99:.1f} ms late (p99)")
        foreign = usage.foreign / usage.wall
        if foreign > MAX_FOREIGN:
            doubts.append(f"other processes used {foreign:.0%} of the system's core")
        return doubts


def _notes(usage: Usage, offered: float, delivered: float) -> list[str]:
    if delivered < 0.98 * offered:
        return [f"saturated: delivered {delivered / offered:.0%} of what was offered"]
    if usage.cpu > MAX_BUSY * usage.wall:
        return ["at its limit: its CPU per token is what one core allows, not what it needs"]
    return []


def percentile(ordered: Sequence[int], part: float) -> float:
    """The value below which `part` of the sorted values lie; 0 of none."""
    return float(ordered[min(len(ordered) - 1, int(len(ordered) * part))]) if ordered else 0.0
