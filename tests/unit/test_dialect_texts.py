"""Whatever is said, in whatever pieces: every front end reads the same text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.framing import frame
from plugins.agent.dialects import DIALECTS
from plugins.agent.messages import Token, TurnCompleted

from .front_ends import encoder, read, recorded, split, tokens, written

BREAKS = st.sampled_from(["\n", "\r", "\r\n", "\n\n", "\u2028", "\x00", "\x85", "data: x", ":"])
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | BREAKS
PIECES = st.lists(st.tuples(WORDS, st.integers(1, 40)), max_size=12)


@pytest.mark.parametrize("name", DIALECTS)
@given(pieces=PIECES, sizes=st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_the_text_is_the_agents(name, pieces, sizes):
    """Any Unicode, any boundaries, merged or not, cut anywhere where that may be."""
    way = encoder(name)
    writes = written(way, recorded(pieces))
    assert way.ended
    if name in ("octopus", "strakly"):
        writes = split(writes, sizes)
    assert read(name, writes).text == "".join(text for text, _ in pieces)


@pytest.mark.parametrize("name", DIALECTS)
@given(pieces=PIECES, cuts=st.lists(st.integers(0, 13), max_size=3), cut=st.integers(0, 40))
def test_what_is_told_again_is_written_once(name, pieces, cuts, cut):
    """A turn may be told anew from its state, in whatever pieces, and as often: what was lost of
    its text comes late, and nothing comes twice."""
    way = encoder(name)
    first, *_ = events = recorded(pieces)
    begun = [event for event in events if not isinstance(event.body, Token | TurnCompleted)]
    *said, _ = tokens(pieces)
    writes = written(way, begun)
    reached = 0
    for each in sorted(cuts):
        text = "".join(piece for piece, _ in pieces[:each])
        count = sum(number for _, number in pieces[:each])
        again = [(text[:cut], min(cut, count)), (text[cut:], max(1, count - cut))]
        writes += [way.event(event) for event in (first, *tokens(again)[:-1])]
        writes.append(way.retold())
        writes += [way.event(event) for event in said[each : each + 1]]
        reached = max(reached, each + 1)
    writes += [way.event(event) for event in (*said[reached:], events[-1])]
    reader = read(name, writes)
    assert reader.text == "".join(piece for piece, _ in pieces)
    known = b"".join(writes)
    for told in (b"turn_start", b'"stream_start"', b"conversation_id", b"agent_response"):
        assert known.count(told) <= 1


@pytest.mark.parametrize("name", DIALECTS)
@given(index=st.integers(0, 10**6))
def test_empty_texts_are_left_out(name, index):
    """Such as the one that only says that it is the last."""
    assert [encoder(name).event(event) for event in tokens([("", 3)], index)] == [b"", b""]


@given(lines=st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]))))
def test_line_breaks_are_framed(lines):
    """Each kind begins a data line, and a reader by the standard has them back as LF."""
    for break_ in ("\n", "\r", "\r\n"):
        framed = frame(break_.join(lines).encode(), "x").decode()
        name, *data, empty, end = framed.split("\n")
        assert (name, empty, end) == ("event: x", "", "")
        assert all(line.startswith("data: ") for line in data)
        assert [line[6:] for line in data] == (lines or [""])
