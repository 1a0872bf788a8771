"""Loads for real, but small: what the generator finds, never how fast."""

import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from bench.generator import measure
from bench.plan import Measured, Part, Times
from bench.scenarios.flood import bystander
from bench.systems import EDGESTREAM, FASTAPI, NAIVE, NATS, RIVALS, SINK, SOCKETIO, System, running

RELAY = Path(__file__).with_name("unfaithful_relay.py")
TIMES = Times(seconds=0.25, warmup=0.05, drain=10.0)
IMPATIENT = replace(TIMES, drain=0.5)
"""Where tokens are missing for good."""

PACED = Part(sessions=4, publishers=4, rate=400)
FLOOD = Part(sessions=3, publishers=3, buffer=16_384)

pytestmark = pytest.mark.usefixtures("load")


def load(system: System, *parts: Part) -> Measured:
    with running(system) as at:
        return measure(parts, system, at, TIMES)


def unfaithful(fault: str, piece: int = 0) -> System:
    """Of every protocol, by its path; `piece` is the most that a frame of NATS' holds."""
    return System(name=fault, command=(sys.executable, str(RELAY), fault, "{port}", f"{piece}"))


PROTOCOLS = [NAIVE, SOCKETIO, NATS]


@pytest.mark.parametrize(
    "part",
    [
        PACED,
        replace(PACED, acks=True),
        replace(PACED, publishers=2, batch=2, acks=True),
        replace(PACED, subscribe="one"),
        Part(rate=200, fan=7),
    ],
    ids=["one per message", "acks", "arrays", "one connection", "fan-out"],
)
@pytest.mark.parametrize("system", [NAIVE, EDGESTREAM], ids=lambda system: system.name)
def test_every_token_is_accounted_for(system: System, part: Part) -> None:
    """A faithful system passes, and the account says how many tokens came."""
    measured = load(system, part)
    found = measured.parts["load"]

    assert measured.problems == []
    assert found.sent * part.fan == found.received > 25
    assert found.delivered > 0


@pytest.mark.parametrize("system", RIVALS.values(), ids=lambda system: system.name)
@pytest.mark.parametrize("batch", [1, 5])
def test_rivals_pass_a_flood_on(system: System, batch: int) -> None:
    """Each rival that is installed delivers every token of a flood and of its bystander."""
    if not system.installed():
        pytest.skip(f"{system.name} is not installed; `make bench` does it")

    measured = load(system, replace(FLOOD, batch=batch), bystander())

    assert measured.problems == []
    assert measured.parts["load"].received > 100
    assert measured.parts["bystander"].received >= 10


def test_a_reader_of_everything_accounts_for_another_parts_tokens() -> None:
    """The flood and the bystander on one connection, read by the bystander's process."""
    reader = bystander(namespace="all", subscribe="one", watch=3)
    measured = load(EDGESTREAM, replace(FLOOD, subscribe="none"), reader)

    assert measured.problems == []
    assert measured.parts["load"].sent == measured.parts["bystander"].watched > 100


@pytest.mark.parametrize(
    "part", [PACED, replace(PACED, publishers=2, batch=2), replace(FLOOD, window=50)],
    ids=["one per message", "arrays", "saturated"],
)  # fmt: skip
@pytest.mark.parametrize("system", [EDGESTREAM, FASTAPI], ids=lambda system: system.name)
def test_server_sent_events_are_accounted_for(system: System, part: Part) -> None:
    """The same loads, read as server-sent events."""
    if not system.installed():
        pytest.skip(f"{system.name} is not installed; `make bench` does it")

    measured = load(system, replace(part, sse=True))
    found = measured.parts["load"]

    assert measured.problems == []
    assert found.sent == found.received >= part.sessions
    assert found.merged == 0


@pytest.mark.parametrize("read", [1, 2, 3, 7, 100])
def test_reads_may_split_events_anywhere(read: int) -> None:
    """No token and no stamp is lost where a read ends in the middle of an event."""
    measured = load(SINK, replace(PACED, read=read))

    assert measured.problems == []
    assert measured.parts["load"].received > 100


@pytest.mark.parametrize("piece", [1, 13])
def test_writes_may_split_events_anywhere(piece: int) -> None:
    """The same where the system writes in odd pieces."""
    measured = load(replace(SINK, command=(*SINK.command, str(piece))), PACED)

    assert measured.problems == []
    assert measured.parts["load"].received > 100


@pytest.mark.parametrize("read", [1, 3, 65_536])
@pytest.mark.parametrize("piece", [1, 13, 0])
def test_protocols_may_be_split_anywhere(read: int, piece: int) -> None:
    """Socket.IO's by the reads, NATS' by the frames, and an event stream by the chunks, too;
    arrays as well as single publishes."""
    with running(unfaithful("none", piece)) as at:
        for system, batch, sse in ((SOCKETIO, 2, False), (NATS, 1, False), (NAIVE, 2, True)):
            part = replace(PACED, read=read, batch=batch, sse=sse, sessions=2, publishers=1)
            measured = measure([part], system, at, TIMES)

            assert measured.problems == []
            assert measured.parts["load"].received > 50


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("drop", "lost before"),
        ("repeat", "repeated or late"),
        ("reorder", "repeated or late"),
        ("alter", "says"),
        ("misdeliver", "got a token of"),
        ("mislabel", "got a token of"),
    ],
)
def test_a_fault_fails_the_run(fault: str, told: str) -> None:
    """Each way of not delivering a token exactly once, in order, is told, in each protocol."""
    with running(unfaithful(fault)) as at:
        for part in (PACED, replace(PACED, subscribe="one"), replace(PACED, sse=True)):
            for system in PROTOCOLS[:1] if part.sse else PROTOCOLS:
                measured = measure([part], system, at, IMPATIENT)
                assert any(told in problem for problem in measured.problems), (system.name, part)


def test_a_system_that_ends_fails_the_run() -> None:
    """The end of the system under test is told, not waited for."""
    with running(NAIVE) as at:
        pass

    assert measure([PACED], NAIVE, at, IMPATIENT).problems


def test_what_is_under_way_is_bounded() -> None:
    """A flood with a window waits for what it sent, and still is one."""
    measured = load(SINK, replace(FLOOD, window=3))

    assert measured.problems == []
    assert measured.parts["load"].received > 100
