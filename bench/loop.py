"""The generator's event loop: sockets in, tokens checked; nothing is sent from here but pongs.

It works on raw epoll, since a callback per read is what an asyncio loop costs.
"""

import select
import time
from collections.abc import Callable

import msgspec

from bench.frames import CLOSE, PING, PONG, FrameError
from bench.ledger import Ledger
from bench.peer import Peer, control
from bench.wire import TOKEN_TOPIC, Edgestream, Incoming

READ = 65_536
READABLE = select.EPOLLIN
WATCHED = select.EPOLLIN | select.EPOLLET
"""Edge-triggered: the kernel looks at each socket once for each arrival."""

FAST = 2048
"""Messages shorter than this can be recognised without being decoded."""

IMPOSSIBLE = b"no frame begins so"
_now = time.monotonic_ns


class Loop:
    """The connections of one run, and the reading of all of them."""

    def __init__(self, wire: Edgestream, ledger: Ledger) -> None:
        self.wire = wire
        self.ledger = ledger
        self.peers: dict[int, Peer] = {}
        self._epoll = select.epoll()
        first = 0x80 | wire.opcode
        self._heads = {
            length + 4: bytes((first, 126)) + length.to_bytes(2, "big")
            for length in range(126, FAST)
        }

    def add(self, peer: Peer) -> None:
        self.peers[peer.fd] = peer
        self._epoll.register(peer.fd, WATCHED)
        if peer.reader.rest:
            self._slow(peer, b"", _now())

    def send(self, peer: Peer, frame: bytes) -> None:
        """Send a frame; what the socket does not take goes when it can."""
        if peer.pending:
            peer.pending += frame
            return
        try:
            taken = peer.send(frame)
        except BlockingIOError:
            taken = 0
        except OSError as error:
            self._lost(peer, str(error))
            return
        if taken != len(frame):
            peer.pending += frame[taken:]
            self._epoll.modify(peer.fd, WATCHED | select.EPOLLOUT)

    def wait(self, done: Callable[[], bool], patience: float, progress: Callable[[], int]) -> bool:
        """Read until `done`; False once `progress` has not changed for `patience` seconds."""
        seen, since = progress(), _now()
        while not done():
            self.pump(0.01)
            if (count := progress()) != seen:
                seen, since = count, _now()
            elif _now() - since > patience * 1e9 or not self.peers:
                return False
        return True

    def pump(self, timeout: float) -> None:
        """Wait up to `timeout` seconds for readable sockets, and read each once."""
        ledger, wire, peers = self.ledger, self.wire, self.peers
        evidence, heads, singles, ack = wire.evidence, self._heads, wire.singles, wire.ack
        expected, append, stamps = ledger.expected, ledger.latencies.append, ledger.stamps
        prepared, received, now = len(evidence), 0, _now
        for fd, events in self._epoll.poll(timeout):
            peer = peers[fd]
            if events != READABLE and not self._writable(peer, events):
                continue
            try:
                data = peer.recv(READ)
            except BlockingIOError:
                continue
            except OSError as error:
                self._lost(peer, str(error))
                continue
            time = now()
            session = peer.session
            # The common case: one frame with one event, of the expected token as it was
            # sent. Whatever is anything else is decoded in full.
            if (
                session >= 0
                and (index := expected[session]) < prepared
                and data.startswith(heads.get(len(data), IMPOSSIBLE))
                and data[4] in singles
                and data.find(peer.mark + evidence[index]) > 0
                and not peer.reader.rest
            ):
                expected[session] = index + 1
                append(time - stamps[session][index])
                received += 1
                continue
            # The other common case: one frame with one ack.
            if (
                session < 0
                and data.startswith(ack, 2)
                and data[1] == len(data) - 2
                and (digits := data[2 + len(ack) : -1]).isdigit()
                and not peer.reader.rest
            ):
                self._acked(peer, int(digits))
                continue
            ledger.received += received
            received = 0
            self._slow(peer, data, time)
        ledger.received += received

    def _slow(self, peer: Peer, data: bytes, now: int) -> None:
        """Whatever a read may bring."""
        try:
            while len(data) % READ == 0:  # there may be more, or it is the end
                if not (more := peer.recv(READ)):
                    self._lost(peer, "end of stream")
                    return
                data += more
        except BlockingIOError:
            pass
        except OSError as error:
            self._lost(peer, str(error))
            return
        try:
            for opcode, payload in peer.reader.feed(data):
                if opcode == PING:
                    self.send(peer, control(PONG, payload))
                elif opcode == CLOSE:
                    self._lost(peer, f"close frame {payload!r}")
                    return
                elif opcode != PONG:
                    for message in self.wire.decode(payload):
                        self._message(peer, message, now)
        except (FrameError, msgspec.DecodeError) as error:
            self._lost(peer, str(error))

    def _message(self, peer: Peer, message: Incoming, now: int) -> None:
        op = message.op
        if op == "event":
            if message.body is None or peer.session < 0 or message.topic != TOKEN_TOPIC:
                self.ledger.problem(f"{self._who(peer)}: unexpected event {message}")
            else:
                self.ledger.take(peer.session, peer.name, message.body, now)
        elif op == "ack":
            self._acked(peer, message.id)
        elif op == "subscribed":
            peer.standing = True
        elif op in ("error", "dropped", "goodbye"):
            self.ledger.problem(f"{self._who(peer)}: {op} {message.code} {message.message}")

    def _acked(self, peer: Peer, id: int) -> None:
        if not peer.acked < id <= peer.last_id:
            self.ledger.problem(f"{self._who(peer)}: ack {id} after {peer.acked}")
        peer.acked = id

    def _writable(self, peer: Peer, events: int) -> bool:
        """Send what is pending; whether there is something to read, too."""
        if events & select.EPOLLOUT and not events & (select.EPOLLERR | select.EPOLLHUP):
            try:
                if peer.flush():
                    self._epoll.modify(peer.fd, WATCHED)
            except OSError as error:
                self._lost(peer, str(error))
                return False
            return bool(events & select.EPOLLIN)
        return True

    def _lost(self, peer: Peer, why: str) -> None:
        if peer.fd not in self.peers:
            return
        self.ledger.problem(f"{self._who(peer)}: connection lost: {why}")
        self._epoll.unregister(peer.fd)
        del self.peers[peer.fd]
        peer.close()

    def _who(self, peer: Peer) -> str:
        return f"subscriber {peer.name}" if peer.session >= 0 else f"publisher {peer.name}"

    def close(self) -> None:
        """End every connection."""
        for peer in self.peers.values():
            peer.close()
        self.peers.clear()
        self._epoll.close()
