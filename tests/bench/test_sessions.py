"""The sessions scenario for real, but small: what it finds, never how fast."""

import os
import sys
from pathlib import Path

import pytest

from bench.plan import Load, Result
from bench.runs import generate
from bench.systems import EDGESTREAM, NAIVE, System, running

RELAY = Path(__file__).with_name("unfaithful_relay.py")
SMALL = {"sessions": 5, "rate": 100, "seconds": 0.7, "warmup": 0.3, "drain": 2.0}


def small_run(system: System, **options: object) -> Result:
    with running(system) as (pid, port):
        return generate(Load(port=port, pid=pid, **(SMALL | options)))  # type: ignore[arg-type]


def unfaithful(fault: str) -> System:
    return System(
        name=fault,
        command=(sys.executable, str(RELAY), fault, "{port}"),
        environ={"PYTHONPATH": os.fspath(RELAY.parents[2])},
        spaced=True,
    )


@pytest.mark.parametrize("acks", [False, True])
@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("system", [NAIVE, EDGESTREAM], ids=lambda system: system.name)
def test_every_token_is_accounted_for(system: System, batch: bool, acks: bool) -> None:
    """A faithful system passes, and the account says how many tokens came."""
    result = small_run(system, batch=batch, acks=acks, publishers=2 if batch else 0)

    assert result.problems == []
    assert result.sent == result.received > 5 * 50
    assert result.delivered > 0


def test_messagepack() -> None:
    """The broker's other encoding is accounted for as well."""
    result = small_run(EDGESTREAM, codec="msgpack", batch=True, publishers=2, acks=True)

    assert result.problems == []
    assert result.sent == result.received > 5 * 50


def test_an_event_that_is_encoded_otherwise_is_understood() -> None:
    """What the fast path does not recognise is decoded, and counts the same."""
    result = small_run(System(name="naive", command=NAIVE.command, spaced=False))

    assert result.problems == []
    assert result.sent == result.received > 5 * 50


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("drop", "lost before"),
        ("repeat", "repeated or late"),
        ("reorder", "repeated or late"),
        ("alter", "says"),
        ("misdeliver", "got a token of"),
    ],
)
def test_a_fault_fails_the_run(fault: str, told: str) -> None:
    """Each way of not delivering a token exactly once, in order, is told."""
    result = small_run(unfaithful(fault))

    assert any(told in problem for problem in result.problems)


def test_a_system_that_ends_fails_the_run() -> None:
    """The end of the system under test is told, not waited for."""
    with running(NAIVE) as (pid, port):
        pass

    result = generate(Load(port=port, pid=pid, **SMALL))  # type: ignore[arg-type]

    assert any("generator stopped" in problem for problem in result.problems)


def test_idle_connections() -> None:
    """The idle scenario gives a figure for plain and for subscribed connections."""
    result = small_run(NAIVE, scenario="idle", connections=100)

    assert result.problems == []
    assert result.subscribed_kib >= result.idle_kib > 0
