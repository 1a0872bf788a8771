"""The reader: a process of its own, on the other end of the slow link.

It is told its task on its standard input, says `ready` when its subscriptions stand, is
told when the load begins, and says what it found when all has come, when the time is
over, or when the connection is.
"""

import sys
import time
from collections.abc import Callable

import msgspec

from bench.slow.account import Account
from bench.slow.dialects import DIALECTS, Answer, Dialect, Event, Opened, Standing, Trouble
from bench.slow.peer import Ended, Peer
from bench.slow.plan import TICK, TICKS, TOPIC, Received, Task, session

SET_UP = 20.0
"""How long subscribing may take, in seconds."""


class Reader:
    """One connection with everything on it."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._dialect: Dialect = DIALECTS[task.dialect]()
        self._peer = Peer(task.urls[0], self._dialect.subprotocol, task.trust, task.pace)
        self._opened = not self._dialect.waits
        self._standing = 0
        self._messages = 0

    def subscribe(self) -> None:
        """All subscriptions stand when it returns.

        Raises:
            Ended: they do not.
        """
        for message in self._dialect.greeting:
            self._peer.send(message)
        end = time.monotonic() + SET_UP
        self._until(lambda: self._opened, end)
        places = [(TOPIC, session(number)) for number in range(self._task.load.sessions)]
        places.append((TICK, TICKS))
        for number, (topic, key) in enumerate(places, 1):
            self._peer.send(self._dialect.subscribe(number, topic, key))
        self._until(lambda: self._standing == len(places), end)

    def read(self, begin: float) -> Received:
        """Everything that comes."""
        load = self._task.load
        account = Account(load, begin)
        end = begin + load.seconds + load.drain
        before = self._peer.bytes
        self._messages = 0
        ended = ""
        try:
            while not account.complete and time.monotonic() < end:
                self._step(account)
        except Ended as error:
            ended = str(error)
        size = self._peer.bytes - before
        return account.close(time.monotonic(), ended, self._messages, size)

    def close(self) -> None:
        self._peer.close()

    def _until(self, done: Callable[[], bool], end: float) -> None:
        account = Account(self._task.load, 0)
        while not done():
            if time.monotonic() > end:
                raise Ended("subscribing took too long")
            self._step(account)

    def _step(self, account: Account) -> None:
        messages = self._peer.receive(0.5)
        now = time.monotonic()
        for message in messages:
            self._messages += 1
            for said in self._dialect.receive(message):
                match said:
                    case Event(topic, key, body):
                        account.event(topic, key, body, now)
                    case Answer(answer):
                        self._peer.send(answer)
                    case Trouble(text):
                        account.problem(text)
                    case Standing():
                        self._standing += 1
                    case Opened():
                        self._opened = True


def main() -> None:
    task = msgspec.json.decode(sys.stdin.buffer.readline(), type=Task)
    try:
        reader = Reader(task)
        reader.subscribe()
    except (Ended, OSError) as error:
        print(f"not ready: {error}", flush=True)
        return
    print("ready", flush=True)
    line = sys.stdin.readline()
    if line:
        received = reader.read(float(line))
        reader.close()
        sys.stdout.buffer.write(msgspec.json.encode(received) + b"\n")


if __name__ == "__main__":
    main()
