"""The turn machine against a plain model: random orders, repeats, senders, losses, and time."""

from hypothesis import given, settings
from hypothesis import strategies as st

from .turns_world import NEXT, OWNER, SENDERS, World

TURN_OPS = ["thinking", "progress", "action", "suggestions"]


def bodies():
    turn = st.sampled_from(["t", "t", "t", "u"])
    last = st.sampled_from([False, False, True])
    return st.one_of(
        st.tuples(st.just("turnStarted"), turn, st.sampled_from([None, "m"])),
        st.tuples(st.just("token"), turn, st.tuples(st.integers(0, 6), st.integers(1, 3), last)),
        st.tuples(st.just("token"), turn, st.tuples(st.just(NEXT), st.integers(1, 3), last)),
        st.tuples(st.just("toolCallStarted"), turn, st.sampled_from("cd")),
        st.tuples(st.just("toolCallCompleted"), turn, st.sampled_from("cd")),
        st.tuples(st.just("messageSaved"), turn, st.sampled_from("mn")),
        st.tuples(st.just("turnCompleted"), turn, st.sampled_from(["", "abc"])),
        st.tuples(st.just("error"), turn | st.none(), st.sampled_from(["x", "y"])),
        st.tuples(st.sampled_from([*TURN_OPS, "cancel"]), turn, st.none()),
        st.tuples(st.just("userMessage"), st.none(), st.sampled_from("mn")),
        st.tuples(st.just("transcription"), st.none(), st.sampled_from("mn")),
    )  # fmt: skip


def steps():
    sender = st.sampled_from([*SENDERS, *SENDERS[3:]])
    said = st.tuples(st.just("say"), bodies(), sender | st.just(OWNER))
    return st.one_of(
        said, said, said,
        st.tuples(st.just("repeat"), st.integers(0, 2), sender, st.booleans()),
        st.tuples(st.just("lose"), st.sampled_from(["t", "u"])),
        st.tuples(st.just("leave"), sender),
        st.tuples(st.just("join"), sender),
        st.tuples(st.just("wait"), st.sampled_from([1, 5_000, 9_999, 115_000, 500_000])),
        st.tuples(st.just("commit")),
        st.tuples(st.just("fail")),
    )  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(steps(), min_size=5, max_size=40), st.sampled_from(SENDERS[2:]))
def test_whatever_happens_it_is_as_the_model_says(steps, starter):
    """Whoever sends whatever in whatever order, comes, goes, and waits; whatever is lost: each
    answer and each state is as it has to be, also folded again from what was accepted."""
    world = World()
    for step, *details in [("say", ("turnStarted", "t", None), starter), *steps]:
        getattr(world, step)(*details)
        world.check()
