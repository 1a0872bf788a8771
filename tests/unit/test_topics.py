"""Topics and patterns, and the index of subscriptions against its plain definition."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import Rejected
from broker.subscriptions import Subscriptions
from broker.topics import (
    check_key,
    check_pattern,
    check_topic,
    is_topic,
    matches,
    may_match_under,
    shown,
)

LEVELS = st.sampled_from(["a", "b", "A", "ab", "a-b_1"])
TOPICS = st.lists(LEVELS, min_size=1, max_size=4).map(".".join)
PATTERNS = st.builds(
    lambda levels, rest: ".".join([*levels, *rest]),
    st.lists(LEVELS | st.just("*"), min_size=1, max_size=4),
    st.sampled_from([[], [], [">"]]),
) | st.just(">")
KEYS = st.sampled_from(["", "k", "other"])


def regex(pattern):
    """The pattern's meaning, once more and differently."""
    text = re.escape(pattern).replace(r"\*", "[^.]+").replace(">", ".+")
    return re.compile(text)


@given(PATTERNS, TOPICS)
def test_matching_is_what_the_contract_says(pattern, topic):
    """`*` stands for exactly one level, a final `>` for one or more."""
    assert matches(pattern, topic) == (regex(pattern).fullmatch(topic) is not None)


@given(PATTERNS, TOPICS, st.lists(LEVELS, max_size=3))
def test_what_matches_below_a_prefix_is_foreseen(pattern, prefix, more):
    """If a pattern matches a topic at or below a prefix, `may_match_under` says so."""
    if matches(pattern, ".".join([prefix, *more])):
        assert may_match_under(pattern, prefix)


@given(st.text(max_size=300))
def test_every_topic_is_a_pattern_that_matches_itself(text):
    """What is a topic is also a pattern, and matches itself alone."""
    if is_topic(text):
        check_pattern(text)
        assert matches(text, text)
    else:
        with pytest.raises(Rejected, match=r".*") as refusal:
            check_topic(text)
        assert refusal.value.code == "bad_topic"


@given(st.text())
def test_keys_are_checked_by_their_bytes(key):
    """1 to 255 bytes, no control characters."""
    good = 0 < len(key.encode()) < 256 and not re.search(r"[\x00-\x1f\x7f-\x9f]", key)
    if good:
        check_key(key)
    else:
        with pytest.raises(Rejected, match="a key is"):
            check_key(key)


@given(st.text())
def test_what_is_shown_is_short(text):
    """A message to a client never repeats a long wrong value."""
    assert len(shown(text)) < 1000


@given(
    st.lists(
        st.tuples(st.booleans(), PATTERNS, st.none() | KEYS, st.sampled_from("xyz")), max_size=40
    ),
    st.lists(st.tuples(TOPICS, KEYS), min_size=1, max_size=8),
)
def test_the_index_finds_what_a_plain_search_finds(changes, events):
    """Whatever is added and removed, each event has the readers that match, each once."""
    index: Subscriptions[str] = Subscriptions()
    standing: list[tuple[str, str | None, str]] = []
    for add, pattern, key, reader in changes:
        wish = (pattern, key, reader)
        if add or wish not in standing:
            index.add(*wish)
            standing.append(wish)
        else:
            index.remove(*wish)
            standing.remove(wish)
        for topic, event_key in events:
            found = list(index.readers(topic, event_key))
            assert len(found) == len(set(found))
            assert set(found) == {
                reader
                for pattern, key, reader in standing
                if matches(pattern, topic) and key in (None, event_key)
            }


def test_what_was_not_added_cannot_be_removed():
    """Giving back a subscription that is not there is an error, and leaves nothing behind."""
    index: Subscriptions[str] = Subscriptions()
    with pytest.raises(KeyError):
        index.remove("a.>", None, "x")
    with pytest.raises(KeyError):
        index.remove("a.b", "k", "x")
    assert list(index.readers("a.b", "k")) == []


def test_the_memory_of_topics_is_bounded():
    """Ever new topics do not make the index grow for ever."""
    index: Subscriptions[str] = Subscriptions()
    index.add("a.>", None, "x")
    for n in range(25_000):
        assert list(index.readers(f"a.{n}", "")) == ["x"]
    assert len(index._by_topic) <= 10_000
