"""The `idle` scenario: what an open connection costs in memory, plain and subscribed."""

import os
import time

from msgspec.structs import replace

from bench import procfs
from bench.frames import Headers
from bench.ledger import Ledger
from bench.loop import Loop
from bench.peer import Peer, open_peer
from bench.plan import Load, Result, Usage
from bench.wire import Edgestream

FIRST = 50
"""Connections opened before the first look, so that what is loaded once is loaded."""

SETTLE = 1.0


class Idle:
    """One run of the scenario."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.ledger = Ledger(load.connections)
        self.wire = Edgestream("json", load.connections)
        self.loop = Loop(self.wire, self.ledger)
        self.headers = Headers(self.wire.opcode)

    def run(self) -> Result:
        """RSS before, with the connections open, and with one subscription on each."""
        try:
            self._open(FIRST, subscribed=True)
            before, start = self._settled(), time.monotonic()
            peers = self._open(self.load.connections)
            opened = self._settled()
            for number, peer in enumerate(peers):
                self._subscribe(peer, number)
            self.loop.wait(
                lambda: all(peer.standing for peer in peers),
                self.load.drain,
                lambda: sum(peer.standing for peer in peers),
            )
            subscribed = self._settled()
            standing = sum(peer.standing for peer in peers)
            if standing != len(peers):
                self.ledger.problem(f"subscribed: {standing} of {len(peers)}")
        finally:
            self.loop.close()
        usage = Usage(
            cpu=subscribed.cpu - before.cpu,
            wall=time.monotonic() - start,
            waited=subscribed.waited - before.waited,
            rss=subscribed.rss,
        )
        count = 1024 * self.load.connections
        return replace(
            Result(),
            problems=self.ledger.problems,
            usage=usage,
            idle_kib=(opened.rss - before.rss) / count,
            subscribed_kib=(subscribed.rss - before.rss) / count,
        )

    def _open(self, count: int, *, subscribed: bool = False) -> list[Peer]:
        load, wire, peers = self.load, self.wire, []
        for number in range(count):
            peer = open_peer(
                load.host, load.port, wire.path, wire.subprotocol, session=number, name=f"#{number}"
            )
            self.loop.add(peer)
            if subscribed:
                self._subscribe(peer, number)
            peers.append(peer)
        return peers

    def _subscribe(self, peer: Peer, session: int) -> None:
        self.loop.send(peer, self.headers.frame(self.wire.subscribe(peer.next_id(), session)))

    def _settled(self) -> procfs.Sample:
        end = time.monotonic() + SETTLE
        while time.monotonic() < end:
            self.loop.pump(0.05)
        return procfs.sample(procfs.tree(self.load.pid or os.getpid()))
