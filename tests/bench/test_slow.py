"""The slow reader's account notices what is lost, repeated, altered or late."""

import json
from typing import Any, Literal

import pytest

from bench.plan import Times
from bench.slow import figures, link
from bench.slow.account import Account
from bench.slow.dialects import Answer, Edgestream, Event, Nats, Opened, SocketIO, Standing
from bench.slow.measure import measure
from bench.slow.plan import (
    TICK,
    TICKS,
    TOPIC,
    Load,
    Published,
    Received,
    Way,
    piece,
    session,
    token,
)
from bench.slow.plan import tick as tick_body
from bench.systems import EDGESTREAM, SYSTEMS

NOWHERE = (None, None)
"""On any core."""

LOAD = Load(sessions=2, rate=10, ticks=4, seconds=3, drain=2)


def merged(number: int, first: int, count: int) -> dict[str, Any]:
    """A session's tokens as one merged event."""
    text = "".join(piece(number, index) for index in range(first, first + count))
    last = token(LOAD, number, first + count - 1)
    return last | {"token": text, "tokenIndex": first, "tokenCount": count}


class Story:
    """What comes, by the name of what it is; each half a second after it was due."""

    def __init__(self) -> None:
        self.account = Account(LOAD, begin=100.0)

    def tokens(self, number: int, first: int = 0, end: int = LOAD.tokens) -> None:
        for index in range(first, end):
            self.token(number, token(LOAD, number, index))

    def token(self, number: int, body: dict[str, Any]) -> None:
        at = 100.5 + (body["tokenIndex"] + body.get("tokenCount", 1)) / LOAD.rate
        self.account.event(TOPIC, session(number), body, at)

    def ticks(self, first: int = 0, end: int = LOAD.all_ticks, *, late: float = 0.5) -> None:
        for number in range(first, end):
            due = 100.0 + (number + 0.5) / LOAD.ticks
            self.account.event(TICK, TICKS, tick_body(number, due), due + late)

    def end(self, ended: str = "") -> Received:
        return self.account.close(105.0, ended, messages=1, size=1)

    def missed(self, ended: str = "") -> list[str]:
        received = self.end(ended)
        return figures.missed(LOAD, received, Published(), self.figures(received))

    def figures(self, received: Received) -> dict[str, float]:
        return figures.of(LOAD, received, Published())


@pytest.fixture
def story() -> Story:
    return Story()


def test_everything_once_meets_the_bar(story: Story) -> None:
    """Single tokens and merged ones make one text; it was complete half a second after the end."""
    story.tokens(0)
    story.token(1, merged(1, 0, 12))
    story.tokens(1, 12, 13)
    story.token(1, merged(1, 13, 17))
    assert not story.account.complete
    story.ticks()

    assert story.account.complete
    received = story.end()
    assert (received.problems, received.tokens, received.merged) == ([], 60, 29)
    assert story.figures(received)["drain s"] == pytest.approx(0.5)
    assert received.late == (pytest.approx(0.6), pytest.approx(2.15))  # merged, it waited
    assert story.missed() == []


def test_a_lost_token_is_noticed(story: Story) -> None:
    """With its place, and only once; the text is not all there."""
    story.tokens(0)
    story.tokens(1, 0, 5)
    story.tokens(1, 6)
    story.ticks()

    received = story.end()
    assert received.problems == ["session-1: lost: token 6 came where 5 was due"]
    assert received.tokens == 59
    assert story.missed()


def test_a_repeated_token_is_noticed(story: Story) -> None:
    """It does not make up for another that was lost."""
    story.tokens(0)
    story.tokens(1, 0, 6)
    story.tokens(1, 5)

    received = story.end()
    assert received.problems == ["session-1: repeated: token 5 came where 6 was due"]
    assert received.tokens == 60


@pytest.mark.parametrize(
    "change",
    [
        {"token": "else"},
        {"isLast": True},
        {"tokenCount": 2},
        {"token": piece(0, 3) + piece(0, 4)},
        {"token": piece(1, 3)},
    ],
)
def test_an_altered_token_is_noticed(story: Story, change: dict[str, Any]) -> None:
    """Its text, its end, its count, or the text of another one."""
    story.tokens(0, 0, 3)
    story.token(0, token(LOAD, 0, 3) | change)

    assert "altered" in story.end().problems[0]
    assert story.end().tokens == 3


def test_a_merged_token_that_lacks_a_piece_is_noticed(story: Story) -> None:
    """Its text has to be that of all its tokens."""
    body = merged(0, 0, 9)
    story.token(0, body | {"token": body["token"][:-1]})

    assert story.end().problems == ["session-0: altered: tokens 0 to 8"]


def test_another_sessions_token_is_noticed(story: Story) -> None:
    """The key and the body have to be of one session."""
    story.account.event(TOPIC, session(1), token(LOAD, 0, 0), 100.0)

    assert story.end().problems == ["not subscribed to: agent.chat.token session-1"]


def test_lost_and_repeated_events_of_the_bystander_are_noticed(story: Story) -> None:
    """They are numbered, too."""
    story.ticks(0, 3)
    story.ticks(4, 6)
    story.ticks(5)

    assert [what.split(" came")[0] for what in story.end().problems] == [
        "bystander: lost: 4",
        "bystander: repeated: 5",
    ]


def test_what_never_came_is_as_late_as_was_waited(story: Story) -> None:
    """Nobody gets a good p99 by not delivering."""
    story.tokens(0)
    story.tokens(1)
    story.ticks(0, 6)

    found = story.figures(story.end())
    assert found["ticks lost"] == 6
    assert found["max s"] == pytest.approx(5.0 - 6.5 / LOAD.ticks)
    assert any(why.startswith("it grows") for why in story.missed())


def test_a_late_bystander_misses_the_bar(story: Story) -> None:
    """Though everything came."""
    story.tokens(0)
    story.tokens(1)
    story.ticks(late=1.25)

    assert story.missed() == ["the bystander's p99 is 1.2 s"]


def test_an_ended_connection_misses_the_bar(story: Story) -> None:
    """Its end is told, and how much of the text there was by then."""
    story.tokens(0)

    why = story.missed("closed: 1011")
    assert why[0] == "the connection ended after 5 s: closed: 1011"
    assert why[1] == "50.0 % of the text"


def test_edgestreams_array_is_taken_apart() -> None:
    """Events, and the subscription that stands; what needs nothing is left out."""
    body = token(LOAD, 0, 0)
    event = {"op": "event", "topic": TOPIC, "key": session(0), "body": body}
    said = Edgestream().receive(json.dumps([{"op": "subscribed", "id": 1}, event, {"op": "ping"}]))

    assert list(said) == [Standing(), Event(TOPIC, session(0), body)]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_nats_is_a_stream_of_bytes(size: int) -> None:
    """Whatever the frames cut; a line break in a body is none of the protocol's."""
    body = {"token": "a\r\nMSG", "é": 1}
    data = json.dumps(body, indent="\r\n").encode()
    stream = b"INFO {}\r\nPONG\r\nPONG\r\nPING\r\n"
    stream += b"MSG agent.chat.token.s 1 %d\r\n%b\r\nPING\r\n" % (len(data), data)
    dialect = Nats()
    said = [
        what
        for at in range(0, len(stream), size)
        for what in dialect.receive(stream[at : at + size])
    ]

    pong = Answer(b"PONG\r\n")
    assert said == [Opened(), Standing(), pong, Event(TOPIC, "s", body), pong]


def test_socketio_asks_for_signs_of_life() -> None:
    """Its pings are answered, or it would end the connection."""
    dialect = SocketIO()
    text = '42["event",{"topic":"t","key":"k","body":{}}]'
    said = [what for message in ('0{"sid":""}', "40{}", "431[]", text, "2")
            for what in dialect.receive(message)]  # fmt: skip

    assert said == [Opened(), Standing(), Event("t", "k", {}), Answer("3")]


@pytest.mark.parametrize("transport", ["tls", "nginx"])
def test_every_system_is_measured_at_once(transport: Literal["tls", "nginx"]) -> None:
    """With the real processes, those that are installed; so little that all of it comes."""
    systems = [system for system in SYSTEMS.values() if system.installed()]
    found = measure(systems, Way(transport=transport), Times(seconds=0.3, drain=5.0), NOWHERE)

    for system, measured in zip(systems, found, strict=True):
        if measured.problems == ["not measured: there is no nginx"]:
            pytest.skip("there is no nginx")
        assert measured.problems == [], system.name
        assert measured.more.received.problems == measured.more.published.problems == []
        assert measured.more.figures["text %"] == 100, system.name
        assert measured.more.figures["ticks lost"] == 0


def test_a_reader_that_reads_slowly_gets_all_of_edgestream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where no network namespace is permitted, and the link is too slow; and it is said."""
    monkeypatch.setattr(link.shutil, "which", lambda name: None)
    (measured,) = measure([EDGESTREAM], Way(), Times(seconds=1.0, drain=10.0), NOWHERE)

    assert measured.problems == []
    assert measured.more.received.ended == ""
    assert measured.more.figures["text %"] == 100
    assert measured.more.received.merged > 0
    assert "throttled reader" in measured.more.link
