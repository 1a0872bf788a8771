"""The `sessions` scenario: N turns at R tokens a second, each to its own subscriber.

`ceiling` is the same load unpaced, with a bound on what is in flight: how much
the generator itself can do.
"""

import time
from collections.abc import Callable

import msgspec

from bench.frames import Headers
from bench.ledger import Ledger
from bench.loop import Loop
from bench.pace import Entry, Pace
from bench.peer import Peer, open_peer
from bench.plan import Load, Result
from bench.wire import Edgestream, text


class Sessions:
    """One run of the scenario."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.ledger = Ledger(load.sessions)
        self.wire = Edgestream(load.codec, load.sessions, spaced=load.spaced)
        self.loop = Loop(self.wire, self.ledger)
        self.headers = Headers(self.wire.opcode)
        self.publishers: list[Peer] = []
        self.owner: list[Peer] = []
        """The publisher of each session."""

    def run(self) -> Result:
        """Connect, load, drain and reconcile."""
        result = Result()
        try:
            if self._connect() and self._start_turns():
                pace = Pace(self.load, self.wire, self.headers, self.loop, self._entries())
                result = pace.run()
                self._end_turns()
                self.ledger.reconcile()
        finally:
            self.loop.close()
        return msgspec.structs.replace(
            result,
            problems=self.ledger.problems,
            sent=sum(self.ledger.sent),
            received=self.ledger.received,
            merged=self.ledger.merged,
        )

    def _connect(self) -> bool:
        load, wire = self.load, self.wire
        for session in range(load.sessions):
            name = wire.session_name(session)
            peer = open_peer(
                load.host, load.port, wire.path, wire.subprotocol, session=session, name=name
            )
            peer.mark = wire.mark(session)
            self.loop.add(peer)
            self.loop.send(peer, self.headers.frame(wire.subscribe(peer.next_id(), session)))
        subscribers = list(self.loop.peers.values())
        for number in range(load.publisher_count):
            name = str(number)
            peer = open_peer(load.host, load.port, wire.path, wire.subprotocol, name=name)
            self.publishers.append(peer)
            self.loop.add(peer)
        count = load.publisher_count
        self.owner = [self.publishers[session % count] for session in range(load.sessions)]
        return self._await(
            lambda: sum(p.standing for p in subscribers), load.sessions, "subscribed"
        )

    def _start_turns(self) -> bool:
        for session, peer in enumerate(self.owner):
            self._publish(peer, self.wire.turn_started(peer.next_id(), session))
        return self._await_acks("turnStarted")

    def _entries(self) -> list[Entry]:
        count, sessions = len(self.publishers), self.load.sessions
        if self.load.batch:
            return [(p, range(n, sessions, count)) for n, p in enumerate(self.publishers)]
        return [(peer, (session,)) for session, peer in enumerate(self.owner)]

    def _end_turns(self) -> None:
        """The last token of each session, all that is still on its way, turnCompleted."""
        ledger, wire = self.ledger, self.wire
        for session, peer in enumerate(self.owner):
            index = ledger.sent[session]
            start = wire.start(peer.next_id()) if self.load.acks else wire.start_without_id
            ledger.sent[session] += 1
            ledger.stamps[session].append(time.monotonic_ns())
            token = wire.token(index, "", last=True)
            self._publish(peer, start + wire.sessions[session] + token)
        self.loop.wait(ledger.complete, self.load.drain, lambda: ledger.received)
        for session, peer in enumerate(self.owner):
            count = ledger.sent[session]
            said = text(0, count - 1)
            self._publish(peer, wire.turn_completed(peer.next_id(), session, count, said))
        self._await_acks("turnCompleted")

    def _publish(self, peer: Peer, payload: bytes) -> None:
        if peer.fd in self.loop.peers:
            self.loop.send(peer, self.headers.frame(payload))

    def _await_acks(self, of: str) -> bool:
        wanted = sum(peer.last_id for peer in self.publishers)
        return self._await(lambda: sum(peer.acked for peer in self.publishers), wanted, f"ack {of}")

    def _await(self, count: Callable[[], int], wanted: int, what: str) -> bool:
        done = self.loop.wait(lambda: count() == wanted, self.load.drain, count)
        if not done:
            self.ledger.problem(f"{what}: {count()} of {wanted}")
        return done
