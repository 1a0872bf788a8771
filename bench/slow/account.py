"""The reader's account: each token and each event of the bystander once, in order, unaltered."""

import math
from collections.abc import Sequence
from typing import Any

from bench.slow.plan import TICK, TOPIC, Load, Received, due, piece, session

MOST_PROBLEMS = 20


class Account:
    """What came, against what is published.

    Args:
        load: what is published.
        begin: when that began, by the monotonic clock.
    """

    def __init__(self, load: Load, begin: float) -> None:
        self._load = load
        self._begin = begin
        self._numbers = {session(number): number for number in range(load.sessions)}
        self._next = dict.fromkeys(self._numbers, 0)
        self._tick = 0
        self._ticks: list[tuple[float, float]] = []
        self._late: list[float] = []
        self._worst: dict[int, float] = {}
        self._problems: list[str] = []
        self._tokens = self._merged = self._events = 0
        self._completed: float | None = None

    @property
    def complete(self) -> bool:
        """Whether nothing more is to come."""
        return self._completed is not None and self._tick == self._load.all_ticks

    def problem(self, what: str) -> None:
        if len(self._problems) < MOST_PROBLEMS:
            self._problems.append(what)

    def event(self, topic: str, key: str, body: dict[str, Any], at: float) -> None:
        """One event, which came at `at`."""
        self._events += 1
        if topic == TOPIC and key in self._numbers and body.get("sessionId") == key:
            self._take(key, body, at)
        elif topic == TICK:
            self._take_tick(body, at)
        else:
            self.problem(f"not subscribed to: {topic} {key}")

    def _take(self, key: str, body: dict[str, Any], at: float) -> None:
        index, count = body["tokenIndex"], body.get("tokenCount", 1)
        expected = self._next[key]
        if index != expected:
            what = "repeated" if index < expected else "lost"
            self.problem(f"{key}: {what}: token {index} came where {expected} was due")
        number, end = self._numbers[key], index + count
        text = "".join([piece(number, place) for place in range(index, end)])
        last = end == self._load.tokens
        if body["token"] != text or body["isLast"] != last or end > self._load.tokens:
            self.problem(f"{key}: altered: tokens {index} to {end - 1}")
        else:
            fresh = range(max(index, expected), end)
            self._tokens += len(fresh)
            for place in fresh:
                self._came(due(self._load, number, place), at - self._begin)
        if count > 1:
            self._merged += count
        self._next[key] = max(expected, end)
        if last and min(self._next.values()) == self._load.tokens:
            self._completed = at

    def _came(self, due_at: float, at: float) -> None:
        late, second = at - due_at, int(due_at)
        self._late.append(late)
        self._worst[second] = max(late, self._worst.get(second, 0.0))

    def _take_tick(self, body: dict[str, Any], at: float) -> None:
        number = body["number"]
        if number != self._tick:
            what = "repeated" if number < self._tick else "lost"
            self.problem(f"bystander: {what}: {number} came where {self._tick} was due")
        else:
            self._ticks.append((body["sent"] - self._begin, at - body["sent"]))
        self._tick = max(self._tick, number + 1)

    def close(self, now: float, ended: str, messages: int, size: int) -> Received:
        """All of it, when the reader ends: what is missing now is lost."""
        end = self._begin + self._load.seconds
        done = self._completed
        return Received(
            problems=self._problems,
            ended=ended,
            tokens=self._tokens,
            merged=self._merged,
            late=(quantile(self._late, 0.5), quantile(self._late, 0.99)),
            ticks=self._ticks,
            worst=sorted(self._worst.items()),
            complete=None if done is None else done - end,
            finished=now - self._begin,
            messages=messages,
            events=self._events,
            bytes=size,
        )


def quantile(values: Sequence[float], share: float) -> float:
    """By the nearest rank; 0 of nothing."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0
