"""`resume`: a reader comes back to an open turn of 2,000 tokens: how soon does it hear
something, and how large is all of it? While it is quiet, and in `flood`'s flood."""

import time
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

import msgspec
from msgspec import Struct

from bench import generator
from bench.plan import Measured, Part, Times, Variant
from bench.processes import Failed
from bench.scenario import Column, Cores, Scenario, Settings
from bench.scenarios.flood import ARRAY, BUFFER
from bench.scenarios.flood import COUNT as FLOODING
from bench.slow.peer import Ended, Peer
from bench.systems import System, running

TOKENS = 2000
SENTENCE = (" The", " broker", " keeps", " what", " was", " said", ".")
WORDS = [SENTENCE[index % len(SENTENCE)] for index in range(TOKENS)]
TEXT = "".join(WORDS)
TURN = {"sessionId": "resumed", "turnId": "t", "agentId": "a"}

TRIPS = 5
"""Round trips before each return; their median is taken off what the first event took."""

WAYS = ("snapshot", "cursor", "unknown cursor")
QUIET, FLOOD = "quiet", "in a flood"


class Return(Struct, frozen=True):
    """A round trip, and the first event, in ms; all that came, in bytes, beyond
    the text that it told; and that text's part of the turn's."""

    trip: float
    first: float
    more: int
    part: float


class Reader:
    """A connection of its own, message by message."""

    def __init__(self, url: str, patience: float) -> None:
        self.peer = Peer(url, "edgestream.v1.json")
        self._patience = patience
        self._came: list[Any] = []
        self._id = 0
        self.trip()

    def ask(self, *operations: Mapping[str, Any]) -> None:
        """Say so, each with an id, in one message."""
        self._id += len(operations)
        first = self._id - len(operations) + 1
        said = [{**operation, "id": first + n} for n, operation in enumerate(operations)]
        self.peer.send(msgspec.json.encode(said).decode())

    def trip(self) -> float:
        """How many ms a round trip takes, of which the broker does little."""
        began = time.perf_counter()
        self.ask({"op": "ping"})
        self.until("pong")
        return (time.perf_counter() - began) * 1e3

    def until(self, op: str) -> list[Any]:
        """All messages up to the first with this `op`.

        Raises:
            Ended: there is none.
        """
        end = time.monotonic() + self._patience
        while True:
            for place, message in enumerate(self._came):
                if message["op"] == op:
                    seen, self._came = self._came[: place + 1], self._came[place + 1 :]
                    return seen
                if message["op"] == "error":
                    raise Ended(f"refused: {message}")
            if time.monotonic() > end:
                raise Ended(f"no {op}")
            for data in self.peer.receive(1.0):
                said = msgspec.json.decode(data)
                self._came += said if isinstance(said, list) else [said]


def variants(settings: Settings) -> list[Variant]:
    """By a snapshot, by a cursor in the middle, and by one that the broker does not know."""
    count = FLOODING // settings.scale
    flood = Part(sessions=count, publishers=count, batch=ARRAY, buffer=BUFFER, yields=True)
    return [
        Variant(name=f"{way}, {when}", parts=parts, only=("edgestream",), way=way)
        for when, parts in ((QUIET, ()), (FLOOD, (flood,)))
        for way in WAYS
    ]


def measure(system: System, variant: Variant, times: Times, cores: Cores) -> Measured:
    """Return again and again, within the window."""
    with running(system, cores[0]) as at:
        url = f"ws://127.0.0.1:{at.port}{system.paths['chat']}"
        try:
            with generator.opened(variant.parts, system, at.port, times, cores[1]) as flood:
                publisher = Reader(url, times.drain)
                wish = _wish(variant.way, _published(publisher, url, times))
                for part in flood:
                    part.step("subscribe", "ready")
                opens = time.monotonic() + generator.SOON
                for part in flood:
                    part.tell(f"go {round(opens * 1e9)}")
                generator.sleep_until(opens + times.warmup)
                returns = list(_returns(url, wish, times))
                told = [part.told(generator.PATIENCE + times.drain) for part in flood]
                publisher.peer.close()
        except (OSError, Failed, Ended) as error:
            return Measured(problems=[f"it stopped: {error}"])
    problems = [problem for found in told for problem in found.problems]
    return Measured(problems=problems, more=returns)


def _published(publisher: Reader, url: str, times: Times) -> str:
    """An open turn. Returns a cursor in its middle."""
    head = {"op": "publish", "topic": "agent.chat.turnStarted", "body": TURN}
    publisher.ask(head)
    for first in range(0, TOKENS, 100):
        publisher.ask(*(_token(index) for index in range(first, first + 100)))
    while publisher.until("ack")[-1]["id"] <= TOKENS:
        pass
    reader = Reader(url, times.drain)
    reader.ask(_subscribe(replay="history", coalesce="never"))
    events = [each for each in reader.until("replayed") if each["op"] == "event"]
    reader.peer.close()
    cursor: str = events[len(events) // 2]["cursor"]
    return cursor


def _token(index: int) -> dict[str, Any]:
    body = TURN | {"tokenIndex": index, "token": WORDS[index], "isLast": False}
    return {"op": "publish", "topic": "agent.chat.token", "body": body}


def _subscribe(**wish: str) -> dict[str, Any]:
    return {"op": "subscribe", "topic": "agent.chat.>", "key": TURN["sessionId"], **wish}


def _wish(way: str, middle: str) -> dict[str, Any]:
    if way == "snapshot":
        return _subscribe(replay="snapshot")
    return _subscribe(after=middle if way == "cursor" else "00000000.1")


def _returns(url: str, wish: Mapping[str, Any], times: Times) -> Iterator[Return]:
    end = time.monotonic() + times.seconds
    while time.monotonic() < end:
        reader = Reader(url, times.drain)
        yield _return(reader, wish, median(reader.trip() for _ in range(TRIPS)))
        reader.peer.close()


def _return(reader: Reader, wish: Mapping[str, Any], trip: float) -> Return:
    """One of them, on a connection that has done nothing else.

    Raises:
        Ended: what it told is not the turn's text, up to its end.
    """
    before, began = reader.peer.bytes, time.perf_counter()
    reader.ask(wish)
    events = reader.until("event")[-1:]
    first = (time.perf_counter() - began) * 1e3
    events += [each for each in reader.until("replayed") if each["op"] == "event"]
    told = "".join(event["body"].get("token", "") for event in events)
    if not TEXT.endswith(told) or len(told) < len(TEXT) // 3:
        raise Ended(f"another text: {told[:80]!r} …")
    more = reader.peer.bytes - before - len(told.encode())
    return Return(trip, first, more, len(told) / len(TEXT))


def figures(measured: Measured) -> dict[str, float]:
    """First events, beside a round trip; what came beside the text, at most."""
    returns: Sequence[Return] = measured.more
    late = sorted(each.first - each.trip for each in returns)
    return {
        "returns": len(returns),
        "round trip ms": median(each.trip for each in returns),
        "p50 ms": median(late),
        "p99 ms": late[min(len(late) - 1, len(late) * 99 // 100)],
        "max ms": late[-1],
        "more bytes": max(each.more for each in returns),
        "part": 100 * min(each.part for each in returns),
    }


RESUME = Scenario(
    name="resume",
    about="a return to an open turn of 2,000 tokens: the first event, beside a round trip",
    variants=variants,
    figures=figures,
    measure=measure,
    columns=(
        Column("p50 ms", "first event p50 ms", "{:.2f}", spread=True),
        Column("p99 ms", "p99 ms", "{:.2f}", spread=True),
        Column("max ms", "max ms"),
        Column("round trip ms", "round trip ms", "{:.2f}"),
        Column("more bytes", "bytes beside the text", "{:,.0f}"),
        Column("part", "of the text", "{:.0f} %"),
        Column("returns", "returns", "{:,.0f}"),
    ),
)
