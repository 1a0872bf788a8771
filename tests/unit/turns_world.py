"""One session of the plugin beside the rules of turns, with whoever says something in it."""

import copyreg
from collections import Counter
from copy import deepcopy
from itertools import groupby

import msgspec

from broker.plugin import BROKER, Duplicate, Event, Rejected, Sender
from plugins.agent.chat import ChatPlugin
from plugins.agent.messages import CHAT, PREFIX
from plugins.agent.options import ChatOptions

from .turns_rules import UNOWNED, Model, same, text

PARTS = [
    "agent_id", "cancel", "ending", "id", "is_last", "message_id", "next_index", "parts",
    "pieces", "saved", "seen", "shown", "started_at", "told", "tools", "tools_done", "tools_open",
]  # fmt: skip
"""What a turn is, but for its owner."""

# What is compiled does not know how to be copied.
copyreg.pickle(
    Sender, lambda sender: (Sender, (sender.principal, sender.client, sender.connection))
)

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


def fields(kind, turn, more):
    base = {"sessionId": "s", **({"turnId": turn} if turn else {})}
    return base | {
        "turnStarted": lambda: {"agentId": "a", **({"messageId": more} if more else {})},
        "token": lambda: {
            "agentId": "a", "token": text(turn, more[0], more[0] + more[1]),
            "tokenIndex": more[0], "isLast": more[2],
            **({} if more[1] == 1 else {"tokenCount": more[1]}),
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
        for _, run in groupby(self.waiting, lambda event: event.topic):
            self.plugin.follow(self.committed, list(run))
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

    # ------------------------------------------------------------- what holds then

    def check(self):
        """The head is the model; so is what is folded again, but for what is not stored."""
        told = seen(self.plugin.snapshot(self.head))
        assert sorted(map(repr, told)) == sorted(map(repr, self.model.snapshot()))
        order = ["turnStarted", "token", "toolCallStarted", "turnCompleted", "error"]
        for one in {turn for _, turn, _ in told}:
            ranks = [order.index(kind) for kind, turn, _ in told if turn == one]
            assert ranks == sorted(ranks)
        # How long ago something was due does not matter.
        dues = [max(due, self.now) for _, due, _ in self.model.dues(self.gone)]
        due = self.plugin.deadline(self.head)
        assert (due and max(due, self.now)) == min(dues, default=None)
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
