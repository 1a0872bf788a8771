"""How soon a reader that comes back to an open turn has its text, and how large that is."""

import time
from statistics import median
from typing import Any, NamedTuple

from conformance.agent import CHAT, started, token
from conformance.client import Peer, connect

from ..backend import backend, go
from ..run import Broken, Run, broker

TOKENS = 2000
LATE = 0.005
"""How much of the broker's time the first event may take, in seconds, beside a round trip."""

ENGLISH = "The broker keeps what was said , and tells it to whoever comes back ."
"""Tokens as models make them: most begin with their space."""


class Resumed(NamedTuple):
    """One return: how much later than a round trip the first event came, in seconds; how many
    bytes there were beside the text."""

    late: float
    overhead: int


async def resume(run: Run) -> None:
    """Of a turn of 2,000 tokens: by a snapshot, by a cursor in its middle, and by one that the
    broker does not know; while it is quiet, and in a flood."""
    known = ENGLISH.split()
    words = [" " + known[n % len(known)] for n in range(TOKENS)]
    flooded = [f"flood{n}" for n in range(20)]
    run.tokens = TOKENS
    async with broker() as running:
        url = running.url("/ws/chat")
        async with connect(url) as publisher:
            middle = await _publish(publisher, words)
            ways: dict[str, dict[str, Any]] = {
                "snapshot": {"replay": "snapshot"},
                "cursor": {"after": middle},
                "unknown cursor": {"after": "00000000.1"},
            }
            for way, wish in ways.items():
                quiet = await _measure(run, url, wish, "".join(words))
                run.figures[f"{way}:"] = _told(quiet)
                if run.long and median(each.late for each in quiet) > LATE:
                    raise AssertionError(f"{way}: {_told(quiet)}")
            if not run.long:
                return
            async with backend(url, run.seed, 1_000_000, flooded) as flood, connect(url) as other:
                await other.subscribe(CHAT + "token", key=flooded[-1])
                go(flood)
                await other.get("event")
                for way, wish in ways.items():
                    found = await _measure(run, url, wish, "".join(words))
                    run.figures[f"{way}, in a flood:"] = _told(found)


async def _publish(publisher: Peer, words: list[str]) -> str:
    """An open turn. Returns a cursor in its middle."""
    await publisher.subscribe(CHAT + "token", key="s", coalesce="never")
    await publisher.publish(CHAT + "turnStarted", started())
    events: list[dict[str, Any]] = []
    for begin in range(0, len(words), 100):
        await publisher.send(*[
            {"op": "publish", "id": publisher.id(), "topic": CHAT + "token",
             "body": token(index, words[index])}
            for index in range(begin, begin + 100)
        ])  # fmt: skip
        # One that is not to be merged for must not be behind.
        events += await publisher.events(100)
    cursor: str = events[len(words) // 2]["cursor"]
    return cursor


async def _measure(run: Run, url: str, wish: dict[str, Any], text: str) -> list[Resumed]:
    found = []
    for _ in range(run.size(20, 200)):
        async with connect(url) as reader:
            found.append(await _resume(reader, wish, text))
    return found


async def _resume(reader: Peer, wish: dict[str, Any], text: str) -> Resumed:
    """One return, on a connection of its own, that has warmed up with some round trips.

    Raises:
        Broken: it is more than 1.2 times its text in bytes and 1 KiB, or another text.
    """
    trips = [await _trip(reader) for _ in range(5)]
    before = reader.bytes
    began = time.perf_counter()
    id = await reader.ask("subscribe", topic=CHAT + ">", key="s", **wish)
    events = [await reader.get("event", sub=id)]
    first = time.perf_counter() - began
    await reader.get("replayed", id=id)
    events += [message for message in reader.inbox if message["op"] == "event"]
    told = "".join(event["body"].get("token", "") for event in events)
    size, whole = reader.bytes - before, len(told.encode())
    if not text.endswith(told) or len(told) < len(text) // 3 or size > 1.2 * whole + 1024:
        raise Broken(f"{size} bytes for {whole} of text: {told[:80]!r} …")
    return Resumed(first - min(trips), size - whole)


async def _trip(reader: Peer) -> float:
    began = time.perf_counter()
    await reader.send({"op": "ping"})
    await reader.get("pong")
    return time.perf_counter() - began


def _told(found: list[Resumed]) -> str:
    late = [each.late * 1000 for each in found]
    return (
        f"first event {median(late):.1f} ms (at worst {max(late):.1f}) beside a round trip, "
        f"{max(each.overhead for each in found)} bytes beside the text"
    )
