"""The rules of turns, each as plainly as can be: what the turn machine is held against."""

from broker.plugin import BROKER

UNOWNED = ("cancel", "messageSaved")
ENDS = ("turnCompleted", "error")
GRACE, STALL, TOOL_STALL = 10_000, 120_000, 600_000


def same(owner, sender):
    if owner.client is None:
        return sender.connection == owner.connection
    return (sender.principal, sender.client) == (owner.principal, owner.client)


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
