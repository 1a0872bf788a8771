"""Merging loses nothing: text, count, cursor; whatever stands between the tokens."""

from time import process_time

from hypothesis import given
from hypothesis import strategies as st

from broker.plugin import BROKER, Event
from plugins.agent.merging import merge_tokens
from plugins.agent.messages import PREFIX, Thinking, Token


def token(turn, index, text, count=None, last=False, extended=False):
    more = {} if count is None else {"tokenCount": count}
    body = Token(
        sessionId="s", turnId=turn, agentId="a", token=text, tokenIndex=index, isLast=last, **more
    )
    event = Event.of(PREFIX + "token", "s", body, index, BROKER)
    event.extended = extended
    return event


@st.composite
def runs(draw):
    """Events of one stream: the tokens of two turns in their order, and others between."""
    indexes = {"t": draw(st.integers(0, 5)), "u": 0}
    run = []
    for position in range(1, draw(st.integers(0, 25)) + 1):
        kind = draw(st.sampled_from(["t", "t", "t", "u", "thinking", "gap", "extended"]))
        if kind == "thinking":
            body = Thinking(sessionId="s", turnId="t", text="hm")
            event = Event.of(PREFIX + "thinking", "s", body, 0, BROKER)
        else:
            turn = kind if kind in indexes else "t"
            indexes[turn] += kind == "gap"
            count = draw(st.none() | st.integers(1, 4))
            event = token(
                turn, indexes[turn], draw(st.text(max_size=5)), count, draw(st.booleans()),
                kind == "extended",
            )  # fmt: skip
            indexes[turn] += count or 1
        event.position = position
        event.time = 1000 + position
        run.append(event)
    return run


def said(events):
    """Of each token: whose it is and where it begins; and all text, in order."""
    told = []
    for event in events:
        if type(event.body) is not Token:
            told.append(event)
            continue
        body = event.body
        following = told and isinstance(told[-1], list) and told[-1][:2] == [
            body.turnId, body.tokenIndex,
        ]  # fmt: skip
        if following:
            told[-1][1] = body.tokenIndex + body.count
            told[-1][2] += body.token
        else:
            told.append([body.turnId, body.tokenIndex + body.count, body.token])
    return told


@given(runs())
def test_merged_events_say_the_same(run):
    """Text, indexes and counts go on as before; other events stay where they were."""
    merged = merge_tokens(run)
    assert said(merged) == said(run)
    assert len(merged) <= len(run)
    assert sum(e.body.count for e in merged if type(e.body) is Token) == sum(
        e.body.count for e in run if type(e.body) is Token
    )


@given(runs())
def test_a_merged_event_ends_where_its_last_ends(run):
    """Position, time and `isLast` are those of the last token in it; the first's index."""
    by_position = {event.position: event for event in run}
    reached = 0
    for event in merge_tokens(run):
        last = by_position[event.position]
        first = by_position[reached + 1]
        assert event.time == last.time
        assert (event.topic, event.key) == (last.topic, last.key)
        if type(event.body) is Token:
            assert event.body.isLast == last.body.isLast
            assert event.body.tokenIndex == first.body.tokenIndex
        reached = event.position
    assert reached == len(run)


@given(runs())
def test_what_has_unknown_fields_stays_as_it_is(run):
    """An extended event is handed on, the very same."""
    merged = merge_tokens(run)
    assert [e for e in merged if e.extended] == [e for e in run if e.extended]


@given(runs())
def test_merging_again_changes_nothing_more(run):
    """What was merged is as small as it gets."""
    once = merge_tokens(run)
    assert [e.body for e in merge_tokens(once)] == [e.body for e in once]


def test_the_run_itself_is_left_alone():
    """Events are shared between readers: merging changes none of them."""
    run = [token("t", 0, "a"), token("t", 1, "b")]
    merge_tokens(run)
    assert [e.body.token for e in run] == ["a", "b"]


def test_long_runs_are_joined_in_one_go():
    """Ten times the tokens take about ten times the CPU, not a hundred."""

    def seconds(count):
        run = [token("t", n, "x" * 50) for n in range(count)]
        start = process_time()
        [whole] = merge_tokens(run)
        assert len(whole.body.token) == 50 * count
        return process_time() - start

    few, many = (min(seconds(count) for _ in range(3)) for count in (5_000, 50_000))
    assert many < 40 * max(few, 0.0005)
