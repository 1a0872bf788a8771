"""What a reader has of a session, folded as the protocol says; it notices what is wrong."""

from collections import Counter
from typing import Any

from broker.client import Event

PREFIX = "agent.chat."
ENDINGS = ("turnCompleted", "error")


class Wrong(AssertionError):
    """Something was lost, repeated, or came out of order."""


class Told:
    """One turn, as far as it was told.

    Attributes:
        parts: its text, in order.
        next: the index of the next token.
        last: the text has ended (`isLast`).
        ending: the event that ended it.
    """

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.next = 0
        self.last = False
        self.ending: Event | None = None

    @property
    def text(self) -> str:
        return "".join(self.parts)

    @property
    def over(self) -> bool:
        return self.ending is not None


class Account:
    """One reader's account of one session.

    A turn may be told anew, from its start, when the broker says that the steps between are
    lost (`recovered: false`): in a snapshot, or by a publisher who restores it. How often
    that happened is counted, and for the test to judge.

    Attributes:
        turns: by their ids.
        counts: how many events came (`events`); how many tokens in them (`tokens`), and of
            those in replays (`replayed`), and inside an event beside its first (`merged`);
            how many turns were told `anew`; how many events were `back in time`, before
            the one that came before them.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.turns: dict[str, Told] = {}
        self.counts: Counter[str] = Counter()
        self._time = 0

    def take(self, event: Event) -> None:
        """Raises `Wrong` where the event does not follow what came before it."""
        self.counts["events"] += 1
        self.counts["back in time"] += event.time < self._time
        self._time = event.time
        kind, body = event.topic.removeprefix(PREFIX), event.body
        turn_id = body.get("turnId")
        if turn_id is None:
            return
        if kind == "turnStarted":
            self._start(turn_id)
            return
        told = self.turns.get(turn_id)
        if told is None:
            self._complain(event, "before its turn has started")
        elif told.over and kind not in ("messageSaved", "cancel"):
            self._complain(event, "after its turn has ended")
        elif kind == "token":
            self._token(told, event)
        elif kind in ENDINGS:
            told.ending = event
            if body.get("fullText", told.text) != told.text and event.cursor is not None:
                self._complain(event, f"and its text is not the one told: {told.text!r}")

    def _start(self, turn_id: str) -> None:
        self.counts["anew"] += turn_id in self.turns
        self.turns[turn_id] = Told()

    def _token(self, told: Told, event: Event) -> None:
        body = event.body
        index, count = body["tokenIndex"], body.get("tokenCount", 1)
        if index != told.next:
            self._complain(event, f"where token {told.next} was to come")
        if told.last:
            self._complain(event, "after the last token")
        told.parts.append(body["token"])
        told.next = index + count
        told.last = body["isLast"]
        self.counts["tokens"] += count
        self.counts["merged"] += count - 1
        self.counts["replayed"] += count if event.replayed else 0

    def _complain(self, event: Event, why: str) -> Any:
        raise Wrong(f"{self.name} was told {event} {why}")
