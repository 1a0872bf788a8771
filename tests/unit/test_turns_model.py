"""The turn machine against a plain model: random orders, repeats, senders, losses, and time."""

from collections import Counter
from copy import deepcopy

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.plugin import BROKER, Duplicate, Event, Rejected, Sender
from plugins.agent.chat import ChatPlugin
from plugins.agent.messages import CHAT, PREFIX
from plugins.agent.options import ChatOptions

TURN_OPS = ["thinking", "progress", "action", "suggestions"]
UNOWNED = ("cancel", "messageSaved")
ENDS = ("turnCompleted", "error")
GRACE, STALL, TOOL_STALL = 10_000, 120_000, 600_000
PARTS = [
    "agent_id", "cancel", "ending", "id", "is_last", "message_id", "next_index", "parts",
    "pieces", "saved", "seen", "shown", "started_at", "told", "tools", "tools_done", "tools_open",
]  # fmt: skip
"""What a turn is, but for its owner."""

NEXT = -1
"""The index of the next token."""

OWNER = None
"""Whoever is the turn's owner."""

SENDERS = [
    Sender("p", "client-1", "c1"),
    Sender("p", "client-1", "c2"),  # the same client after a reconnect
    Sender("q", "client-1", "c3"),  # another principal
    Sender("p", None, "c4"),
    Sender("p", None, "c5"),
]


def same(owner, sender):
    if owner.client is None:
        return sender.connection == owner.connection
    return (sender.principal, sender.client) == (owner.principal, owner.client)


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


def fields(kind, turn, more):
    base = {"sessionId": "s", **({"turnId": turn} if turn else {})}
    return base | {
        "turnStarted": lambda: {"agentId": "a", **({"messageId": more} if more else {})},
        "token": lambda: {
            "agentId": "a", "token": text(turn, more[0], more[0] + more[1]),
            "tokenIndex": more[0], "tokenCount": more[1], "isLast": more[2],
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


def text(turn, begin, until):
    return "".join(f"<{turn}{i}>" for i in range(begin, until))


class Known:
    """A turn in the model: `owner` now, and as it is `stored`, where a repeat is not."""

    def __init__(self, owner):
        self.owner = self.stored = owner
        self.next, self.wrote, self.last = 0, False, False
        self.tools, self.done, self.saved = set(), set(), set()
        self.end = self.cancelled = None
        self.seen = 0


class Model:
    """The rules of the contract, each as plainly as can be."""

    def __init__(self):
        self.turns = {}
        self.messages = set()
        self.last_ended = None

    def outcome(self, kind, turn, more, may):
        """What has to happen: "", "duplicate", or an error code. `may` says of an owner
        whether the sender may publish for it."""
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
            "token": lambda: more[0] + more[1] <= known.next,
            "toolCallStarted": lambda: more in known.tools,
            "toolCallCompleted": lambda: more in known.done,
            "messageSaved": lambda: more in known.saved,
            "turnCompleted": lambda: known.end == (kind, more),
            "error": lambda: known.end == (kind, more),
        }.get(kind)
        if repeated and repeated():
            return "duplicate"
        if kind == "messageSaved":
            return ""
        if known.end:
            return "turn_closed"
        if kind != "cancel" and not may(known.owner):
            return "turn_owned"
        if kind == "token" and more[0] != known.next:
            return "token_gap"
        return ""

    def apply(self, kind, turn, more, sender, now):
        known = self.turns.get(turn)
        if kind in ("userMessage", "transcription"):
            self.messages.add((kind, more))
            return
        if kind == "turnStarted":
            known = self.turns[turn] = Known(sender)
        elif turn is None:
            return
        elif kind not in UNOWNED and sender is not BROKER:
            known.owner = known.stored = sender
        known.seen = now
        if kind == "token":
            known.next += 0 if sender is BROKER else more[1]
            known.wrote, known.last = True, more[2]
        elif kind == "toolCallStarted":
            known.tools.add(more)
        elif kind == "toolCallCompleted":
            known.tools.add(more)
            known.done.add(more)
        elif kind == "messageSaved":
            known.saved.add(more)
        elif kind == "cancel" and known.cancelled is None:
            known.cancelled = now
        elif kind in ENDS:
            known.end = (kind, more)
            self.last_ended = turn

    def open(self):
        return {turn: known for turn, known in self.turns.items() if not known.end}

    def owned(self, sender):
        return [turn for turn, known in self.open().items() if same(known.owner, sender)]

    def dues(self, gone):
        """When the broker ends a turn, and how; what counts if several are over comes first.
        `gone` says since when an owner is away, or None."""
        for turn, known in self.open().items():
            if known.cancelled is not None:
                yield turn, known.cancelled + GRACE, ("turnCompleted", text(turn, 0, known.next))
            if gone(known.owner) is not None:
                yield turn, gone(known.owner) + GRACE, ("error", "publisher_lost")
            stall = TOOL_STALL if known.tools - known.done else STALL
            yield turn, known.seen + stall, ("error", "turn_stalled")

    def snapshot(self):
        """Topics, turns and texts that a late reader has to be told."""
        told = []
        for turn in list(self.open()) or [self.last_ended] * bool(self.last_ended):
            known = self.turns[turn]
            told.append(("turnStarted", turn, None))
            if known.wrote and not (known.end and known.end[0] == "turnCompleted"):
                words = text(turn, 0, known.next)
                told.append(("token", turn, (0, max(1, known.next), words, known.last)))
            if not known.end:
                told += [("toolCallStarted", turn, c) for c in known.tools - known.done]
            else:
                told.append((known.end[0], turn, known.end[1]))
        return told


def seen(events):
    """A snapshot in the model's words."""
    detail = {
        "token": lambda b: (b.tokenIndex, b.count, b.token, b.isLast),
        "toolCallStarted": lambda b: b.toolCallId,
        "turnCompleted": lambda b: b.fullText,
        "error": lambda b: b.code,
    }
    kinds = [(event.topic.removeprefix(PREFIX), event.body) for event in events]
    return [(kind, b.turnId, detail.get(kind, lambda b: None)(b)) for kind, b in kinds]


def state(session):
    """All that a session is, but for the owners of its turns."""
    turns = [[getattr(turn, name) for name in PARTS] for turn in session.turns.values()]
    return turns, session.ended, session.messages, session.untaken, session.hidden


class World:
    """One session of the plugin, as a namespace drives it on an engine that commits later,
    beside the model; and who is connected."""

    def __init__(self):
        self.plugin = self.chat()
        self.head, self.committed = self.plugin.initial(), self.plugin.initial()
        self.model = Model()
        self.kept = deepcopy(self.model)
        self.now = 0
        self.stored, self.waiting, self.said = [], [], []
        self.connected = Counter()
        self.connections = set()
        self.left = {}

    def chat(self):
        plugin = ChatPlugin("agent.chat", ChatOptions())
        plugin.attended = lambda topic, key: True
        return plugin

    # ------------------------------------------------------------- what happens

    def say(self, body, sender):
        """Somebody, who is connected then, publishes something: the answer is the model's."""
        kind, turn, more = body
        known = self.model.turns.get(turn)
        if sender is OWNER:
            sender = known.owner if known else SENDERS[-1]
        if kind == "token" and more[0] == NEXT:
            more = (known.next if known else 0, *more[1:])
            body = (kind, turn, more)
        self.join(sender)
        event = self.event(kind, fields(kind, turn, more), sender)
        expected = self.model.outcome(kind, turn, more, lambda owner: self.may(owner, sender))
        code, detail = self.answer(event)
        assert code == expected
        if code == "token_gap":
            assert detail == {"expected": known.next}
        if code == "duplicate":
            owned = kind != "turnStarted" and kind not in UNOWNED
            if known and not known.end and owned and self.may(known.owner, sender):
                known.owner = sender
        if code:
            return
        self.waiting.append(event)
        self.said.append(body)
        self.model.apply(kind, turn, more, sender, self.now)
        if kind == "cancel":
            assert same(known.owner, self.plugin.recipient(self.head, event))

    def answer(self, event):
        """What the plugin says: a code ("" for good, "duplicate"), and its detail."""
        try:
            self.plugin.accept(self.head, event)
        except Duplicate:
            return "duplicate", None
        except Rejected as refusal:
            return refusal.code, refusal.detail
        return "", None

    def repeat(self, back, sender, lost):
        """Somebody, perhaps another, says again what was accepted a while ago; perhaps since
        the turn's owner is lost."""
        body = self.said[-1 - back % len(self.said)]
        if lost:
            self.lose(body[1])
        self.say(body, sender)

    def lose(self, turn):
        """All connections of a turn's owner are lost."""
        known = self.model.turns.get(turn)
        for sender in SENDERS:
            if known and same(known.owner, sender):
                self.leave(sender)

    def join(self, sender):
        """Somebody comes, or comes back: to its turns."""
        if sender in self.connections:
            return
        self.connections.add(sender)
        self.connected[sender.identity] += 1
        self.left.pop(sender.identity, None)
        keys = self.plugin.joined(sender, self.now)
        assert list(keys) == ["s"] * bool(self.model.owned(sender))

    def leave(self, sender):
        if sender in self.connections:
            self.connections.remove(sender)
            self.connected[sender.identity] -= 1
            self.plugin.left(sender, self.now)
            if not self.connected[sender.identity]:
                self.left[sender.identity] = self.now

    def wait(self, ms):
        """Time passes, and the broker ends what is over its time."""
        self.now += ms
        ends = {}
        for turn, due, how in self.model.dues(self.gone):
            if due <= self.now:
                ends.setdefault(turn, how)
        expected = []
        for turn, (kind, more) in ends.items():
            known = self.model.turns[turn]
            if not known.last:
                expected.append(("token", turn, (known.next, 1, "", True)))
            expected.append((kind, turn, more))
        events = list(self.plugin.expire(self.head, self.now))
        assert seen(events) == expected
        for event, (kind, turn, more) in zip(events, expected, strict=True):
            self.plugin.apply(self.head, event)
            self.waiting.append(event)
            self.model.apply(
                kind, turn, (0, 0, True) if kind == "token" else more, BROKER, self.now
            )

    def commit(self):
        """What waits is stored, and another state follows."""
        for event in self.waiting:
            self.stored.append(event)
            event.position = len(self.stored)
            self.plugin.follow(self.committed, event)
        self.waiting = []
        self.kept = deepcopy(self.model)

    def fail(self):
        """What waits is lost: the head is folded again, and the model is what it was."""
        lost, self.head = self.head, self.plugin.initial()
        self.waiting = []
        for event in self.stored:
            self.plugin.apply(self.head, event)
        self.plugin.rebuilt("s", lost, self.head)
        self.model = deepcopy(self.kept)
        for known in self.model.turns.values():
            known.owner = known.stored
            if not known.end and not self.connected[known.owner.identity]:
                self.left.setdefault(known.owner.identity, 0)  # it was not waited for

    # ------------------------------------------------------------- what holds then

    def check(self):
        """The head is the model; so is what is folded again, but for what is not stored."""
        owners = {known.owner.identity for known in self.model.open().values()}
        self.left = {who: since for who, since in self.left.items() if who in owners}
        told = seen(self.plugin.snapshot(self.head))
        assert sorted(map(repr, told)) == sorted(map(repr, self.model.snapshot()))
        order = ["turnStarted", "token", "toolCallStarted", "turnCompleted", "error"]
        for one in {turn for _, turn, _ in told}:
            ranks = [order.index(kind) for kind, turn, _ in told if turn == one]
            assert ranks == sorted(ranks)
        dues = [due for _, due, _ in self.model.dues(self.gone)]
        assert self.plugin.deadline(self.head) == min(dues, default=None)
        cancelled = {turn for turn, k in self.kept.open().items() if k.cancelled is not None}
        for sender in SENDERS:  # who comes back is to have the cancels that were delivered
            assert self.plugin.load(sender) == len(self.model.owned(sender))
            owed = self.plugin.owed(self.committed, self.head, sender)
            mine = {turn for turn, k in self.model.turns.items() if same(k.owner, sender)}
            assert {event.body.turnId for event in owed} == cancelled & mine
        again = self.fold([*self.stored, *self.waiting])
        assert state(again) == state(self.head)
        for session, model in ((again, self.model), (self.committed, self.kept)):
            for id, turn in session.turns.items():
                assert same(turn.owner, model.turns[id].stored)
        if not self.waiting:
            assert state(self.committed) == state(self.head)

    def fold(self, events):
        plugin = self.chat()
        session = plugin.initial()
        for event in events:
            plugin.apply(session, event)
        return session

    def event(self, kind, body, sender):
        topic = PREFIX + kind
        return Event.of(topic, "s", msgspec.convert(body, CHAT[topic]), self.now, sender)

    def may(self, owner, sender):
        """Whether a sender may publish for an owner: it is it, or it takes over."""
        return same(owner, sender) or (
            owner.client is None
            and owner.principal == sender.principal
            and self.gone(owner) is not None
        )

    def gone(self, owner):
        return None if self.connected[owner.identity] else self.left[owner.identity]


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
