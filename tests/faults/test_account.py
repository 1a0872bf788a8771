"""What the tests' own instruments notice: a proxy's cuts, and an account that does not come out."""

from typing import Any

import pytest
from conformance.agent import CHAT, completed, failed, started, token

from broker.client import Event

from .account import Account, Wrong
from .proxy import AtByte, AtFrame, Frames


def told(*events: tuple[str, Any], cursor: str | None = "c") -> Account:
    """An account of these events."""
    account = Account("the reader")
    for topic, body in events:
        account.take(Event(CHAT + topic, "s", body, 0, cursor, False, False))
    return account


START = ("turnStarted", started())
ONE, TWO = ("token", token(0, "a")), ("token", token(1, "b"))
END = ("turnCompleted", completed(text="ab"))


def test_a_whole_turn() -> None:
    """Token by token or merged, it comes out even."""
    account = told(START, ONE, TWO, END)
    assert (account.turns["t"].text, account.turns["t"].over) == ("ab", True)
    merged = told(START, ("token", token(0, "ab", tokenCount=2)), END)
    assert merged.turns["t"].text == "ab"
    assert (merged.counts["tokens"], merged.counts["merged"]) == (2, 1)


@pytest.mark.parametrize(
    "events",
    [
        (ONE,),
        (START, TWO),
        (START, ONE, ONE),
        (START, TWO, ONE),
        (START, ("token", token(0, "ab", tokenCount=2)), TWO),
        (START, ONE, END),
        (START, ONE, TWO, END, END),
        (START, ONE, TWO, END, ("error", failed())),
        (START, ("token", token(0, "", last=True)), TWO),
    ],
)
def test_what_was_lost_repeated_or_out_of_order(events: Any) -> None:
    """Each is noticed when it comes."""
    with pytest.raises(Wrong):
        told(*events)


def test_a_turn_told_anew_is_counted() -> None:
    """For the test to say whether that may be."""
    assert told(START, ONE, START, ONE, TWO, END).counts["anew"] == 1


HANDSHAKE = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
SHORT = bytes([0x82, 0x83]) + b"mask" + b"abc"
LONG = bytes([0x82, 126, 1, 0]) + b"x" * 256
HUGE = bytes([0x82, 127]) + (70_000).to_bytes(8, "big") + b"y" * 70_000


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100, 5000, 1_000_000])
def test_where_frames_end(size: int) -> None:
    """However the bytes are split, the ends are found; and nothing else."""
    whole = HANDSHAKE + SHORT + LONG + SHORT + HUGE + SHORT
    frames = Frames()
    ends = []
    for at in range(0, len(whole), size):
        ends += [at + end for end in frames.ends(whole[at : at + size])]
    sizes = [len(part) for part in (HANDSHAKE, SHORT, LONG, SHORT, HUGE, SHORT)]
    assert ends == [sum(sizes[: count + 1]) for count in range(len(sizes))]


@pytest.mark.parametrize("size", [1, 4, 1000])
def test_where_a_cut_is(size: int) -> None:
    """At that byte, behind that frame, or so far inside of the next one."""
    whole = HANDSHAKE + SHORT + LONG
    boundary = len(HANDSHAKE + SHORT)
    for judge, where in (
        (AtByte("up", 5), 5),
        (AtFrame("up", 2), boundary),
        (AtFrame("up", 2, 3), boundary + 3),
        (AtFrame("up", 0, 2), 2),
    ):
        passed = 0
        for at in range(0, len(whole), size):
            assert judge("down", b"something else") is None
            allowed = judge("up", whole[at : at + size])
            if allowed is not None:
                passed += allowed
                break
            passed += len(whole[at : at + size])
        assert passed == where
