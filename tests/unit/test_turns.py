"""The turn machine against a plain model: random orders, repeats, and other senders."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.plugin import Duplicate, Event, Rejected, Sender
from plugins.agent import sessions, turns
from plugins.agent.messages import CHAT, PREFIX

TURN_OPS = ["thinking", "progress", "action", "suggestions"]
SENDERS = [
    Sender("p", "client-1", "c1"),
    Sender("p", "client-1", "c2"),  # the same client after a reconnect
    Sender("q", "client-1", "c3"),  # another principal
    Sender("p", None, "c1"),
    Sender("p", None, "c4"),
]


def same(owner, sender):
    if owner.client is None:
        return sender.connection == owner.connection
    return (sender.principal, sender.client) == (owner.principal, owner.client)


def bodies():
    turn = st.sampled_from(["t", "u"])
    return st.one_of(
        st.tuples(st.just("turnStarted"), turn, st.none()),
        st.tuples(st.just("token"), turn, st.tuples(st.integers(0, 6), st.integers(1, 3))),
        st.tuples(st.just("token"), turn, st.tuples(st.integers(0, 2), st.just(1))),
        st.tuples(st.just("toolCallStarted"), turn, st.sampled_from("cd")),
        st.tuples(st.just("toolCallCompleted"), turn, st.sampled_from("cd")),
        st.tuples(st.just("messageSaved"), turn, st.sampled_from("mn")),
        st.tuples(st.just("turnCompleted"), turn, st.sampled_from(["", "abc"])),
        st.tuples(st.just("error"), turn | st.none(), st.sampled_from(["x", "y"])),
        st.tuples(st.sampled_from([*TURN_OPS, "cancel"]), turn, st.none()),
        st.tuples(st.just("userMessage"), st.none(), st.sampled_from("mn")),
        st.tuples(st.just("transcription"), st.none(), st.sampled_from("mn")),
    )  # fmt: skip


def fields(kind, turn, more):
    base = {"sessionId": "s", **({"turnId": turn} if turn else {})}
    return base | {
        "turnStarted": lambda: {"agentId": "a"},
        "token": lambda: {
            "agentId": "a", "token": "".join(f"<{turn}{i}>" for i in range(more[0], sum(more))),
            "tokenIndex": more[0], "tokenCount": more[1], "isLast": False,
        },
        "toolCallStarted": lambda: {"toolName": "n", "toolCallId": more, "arguments": {}},
        "toolCallCompleted": lambda: {"toolCallId": more},
        "messageSaved": lambda: {"messageId": more},
        "turnCompleted": lambda: {
            "agentId": "a", "fullText": more, "toolCallsUsed": [], "inputTokens": 0,
            "outputTokens": 0, "durationMs": 0,
        },
        "error": lambda: {"code": more, "message": "m", "retryable": False},
        "thinking": lambda: {"text": ""},
        "progress": lambda: {"percent": 1, "message": ""},
        "action": lambda: {"action": {}},
        "suggestions": lambda: {"questions": []},
        "cancel": dict,
        "userMessage": lambda: {"messageId": more, "text": ""},
        "transcription": lambda: {"messageId": more, "text": ""},
    }[kind]()  # fmt: skip


class Model:
    """The rules of the contract, each as plainly as can be."""

    def __init__(self):
        self.turns = {}
        self.messages = set()
        self.last_ended = None

    def outcome(self, kind, turn, more, sender):
        """What has to happen: "", "duplicate", or an error code; with what is expected."""
        if kind in ("userMessage", "transcription"):
            return "duplicate" if (kind, more) in self.messages else ""
        if turn is None:
            return ""
        known = self.turns.get(turn)
        if kind == "turnStarted":
            return "duplicate" if known else ""
        if known is None:
            return "turn_not_started"
        repeated = {
            "token": lambda: sum(more) <= known["next"],
            "toolCallStarted": lambda: more in known["tools"],
            "toolCallCompleted": lambda: more in known["done"],
            "messageSaved": lambda: more in known["saved"],
            "turnCompleted": lambda: known["end"] == (kind, more),
            "error": lambda: known["end"] == (kind, more),
        }.get(kind)
        if repeated and repeated():
            return "duplicate"
        if kind == "messageSaved":
            return ""
        if known["end"]:
            return "turn_closed"
        if kind != "cancel" and not same(known["owner"], sender):
            return "turn_owned"
        if kind == "token" and more[0] != known["next"]:
            return "token_gap"
        return ""

    def apply(self, kind, turn, more, sender):
        known = self.turns.get(turn)
        if kind in ("userMessage", "transcription"):
            self.messages.add((kind, more))
        elif kind == "turnStarted":
            self.turns[turn] = {
                "owner": sender, "next": 0, "tools": set(), "done": set(), "saved": set(),
                "end": None,
            }  # fmt: skip
        elif turn is None:
            pass
        elif kind == "token":
            known["next"] += more[1]
        elif kind == "toolCallStarted":
            known["tools"].add(more)
        elif kind == "toolCallCompleted":
            known["tools"].add(more)
            known["done"].add(more)
        elif kind == "messageSaved":
            known["saved"].add(more)
        elif kind in ("turnCompleted", "error"):
            known["end"] = (kind, more)
            self.last_ended = turn

    def snapshot(self):
        """Topics, turns and texts that a late reader has to be told."""
        shown = [turn for turn, known in self.turns.items() if not known["end"]]
        if not shown and self.last_ended:
            shown = [self.last_ended]
        told = []
        for turn in shown:
            known = self.turns[turn]
            told.append(("turnStarted", turn, None))
            if known["next"] and known["end"] != ("turnCompleted", (known["end"] or "  ")[1]):
                text = "".join(f"<{turn}{i}>" for i in range(known["next"]))
                told.append(("token", turn, (0, known["next"], text)))
            if not known["end"]:
                told += [("toolCallStarted", turn, c) for c in known["tools"] - known["done"]]
            else:
                told.append((known["end"][0], turn, known["end"][1]))
        return told


def seen(events):
    """A snapshot in the model's words."""
    told = []
    for event in events:
        body, kind = event.body, event.topic.removeprefix(PREFIX)
        detail = {
            "token": lambda b: (b.tokenIndex, b.count, b.token),
            "toolCallStarted": lambda b: b.toolCallId,
            "turnCompleted": lambda b: b.fullText,
            "error": lambda b: b.code,
        }.get(kind, lambda b: None)(body)
        told.append((kind, body.turnId, detail))
    return told


def answer(session, event):
    """What the machine says: a code ("" for good, "duplicate"), and its detail."""
    try:
        turns.validate(session, event, lambda sender: False)
    except Duplicate:
        return "duplicate", None
    except Rejected as refusal:
        return refusal.code, refusal.detail
    return "", None


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(bodies(), st.sampled_from(SENDERS)), max_size=40))
def test_every_answer_is_the_model_s(steps):
    """Whoever sends whatever in whatever order: each answer, and the state, is as it has to be."""
    session, model = sessions.Session(), Model()
    for (kind, turn, more), sender in [(("turnStarted", "t", None), SENDERS[0]), *steps]:
        topic = PREFIX + kind
        body = msgspec.convert(fields(kind, turn, more), CHAT[topic])
        event = Event.of(topic, "s", body, 0, sender)
        expected = model.outcome(kind, turn, more, sender)
        code, detail = answer(session, event)
        assert code == expected
        if code == "token_gap":
            assert detail == {"expected": model.turns[turn]["next"]}
        if code:
            continue
        turns.apply(session, event)
        model.apply(kind, turn, more, sender)
        told = seen(sessions.snapshot(session))
        assert sorted(map(repr, told)) == sorted(map(repr, model.snapshot()))
        order = ["turnStarted", "token", "toolCallStarted", "turnCompleted", "error"]
        for one in {turn for _, turn, _ in told}:
            ranks = [order.index(kind) for kind, turn, _ in told if turn == one]
            assert ranks == sorted(ranks)


def test_ended_turns_are_forgotten_and_open_ones_are_not():
    """A session that goes on for ever keeps its open turns, and a bounded rest."""
    session = sessions.Session()

    def take(kind, turn, more=None):
        topic = PREFIX + kind
        body = msgspec.convert(fields(kind, turn, more), CHAT[topic])
        event = Event.of(topic, "s", body, 0, SENDERS[0])
        turns.validate(session, event, lambda sender: False)
        turns.apply(session, event)

    take("turnStarted", "open")
    for n in range(1000):
        take("turnStarted", f"t{n}")
        take("turnCompleted", f"t{n}", "")
        take("userMessage", None, f"m{n}")
    take("token", "open", (0, 1))
    assert len(session.turns) < 400
    assert len(session.messages) < 400


def test_every_error_code_has_a_meaning():
    """What the machine answers is what the plugin registers; only a gap is worth a retry."""
    assert {code for code, info in turns.ERRORS.items() if info.retryable} == {"token_gap"}
    assert set(turns.ERRORS) == {"turn_not_started", "turn_closed", "turn_owned", "token_gap"}


def say(session, kind, **fields):
    body = CHAT[PREFIX + kind](sessionId="s", turnId="t", **fields)
    turns.apply(session, Event.of(PREFIX + kind, "s", body, 0, Sender("p", None, "c")))


def test_a_long_text_is_shown_in_pieces():
    """Each of some 32,000 characters, so that it holds up nothing else; together they are the
    whole, token for token."""
    words = [f"{n} " for n in range(40_000)]
    session = sessions.Session()
    say(session, "turnStarted", agentId="a")
    for index, word in enumerate(words):
        say(session, "token", agentId="a", token=word, tokenIndex=index, isLast=False)
    shown = [told.body for told in sessions.snapshot(session) if told.topic == PREFIX + "token"]
    assert len(shown) > 5
    assert max(len(body.token) for body in shown) < 40_000
    following = 0
    for body in shown:
        assert body.tokenIndex == following
        following += body.count
        assert body.token == "".join(words[body.tokenIndex : following])
        assert not body.isLast
    assert following == len(words)
    assert next(iter(session.turns.values())).text == "".join(words)
    again = sessions.Session()
    for told in sessions.essence(session):
        turns.apply(again, told)
    assert [told.body for told in sessions.snapshot(again)] == [
        told.body for told in sessions.snapshot(session)
    ]


def test_two_turns_may_answer_one_message():
    """A worker that was slow to begin, and the one that had the message next: the first takes
    it up, both can be told, each by its own name."""
    session = sessions.Session()
    body = {"sessionId": "s", "messageId": "m", "text": "hi"}
    question = CHAT[PREFIX + "userMessage"](**body)
    turns.apply(session, Event.of(PREFIX + "userMessage", "s", question, 0, SENDERS[0]))
    for turn, sender in (("t", SENDERS[3]), ("u", SENDERS[4])):
        started = CHAT[PREFIX + "turnStarted"]("s", turn, "a", "m")
        event = Event.of(PREFIX + "turnStarted", "s", started, 0, sender)
        assert answer(session, event) == ("", None)
        turns.apply(session, event)
        assert session.untaken is None
    assert [told[1] for told in seen(sessions.snapshot(session))] == ["t", "u"]
