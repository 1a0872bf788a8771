"""Those who read: each has an account of its session, which must come out even."""

import asyncio
import random
from collections import Counter
from collections.abc import Iterable
from typing import Any

from faults.account import Account, Told, Wrong

from broker.client import Client, Subscription, connect

from .agents import Said, hasty
from .words import text

PATTERNS = ("agent.chat.>", "agent.chat.*", "agent.*.*")


class Reader:
    """Reads a session until its last turn has ended.

    Args:
        url: where, through a proxy or not.
        last: the id of that turn.
        twice: whether it has two subscriptions of the same events on its connection.
        subscribe: the wishes of its subscriptions.

    Attributes:
        accounts: one for each of its subscriptions.
        ready: set once they stand.
    """

    def __init__(
        self,
        url: str,
        session: str,
        last: str,
        chance: random.Random,
        *,
        twice: bool = False,
        **subscribe: Any,
    ) -> None:
        self.session = session
        self.accounts = [Account(f"{session}, {n}") for n in range(1 + twice)]
        self.ready = asyncio.Event()
        self.gaps = 0
        self._last = last
        self._standing = 0
        self._milestone = 0
        self._reached = asyncio.Event()
        self._subscribe = subscribe
        codec: Any = chance.choice(["json", "msgpack"])
        self._client = connect(url, random=hasty(chance), wait=True, codec=codec)

    async def read(self) -> None:
        """Until the end. Raises `Wrong`."""
        async with self._client, asyncio.TaskGroup() as tasks:
            for pattern, account in zip(PATTERNS, self.accounts, strict=False):
                tasks.create_task(self._read(self._client, pattern, account))

    async def goes_on(self, tokens: int) -> None:
        """Wait until it was told so many tokens more."""
        self._milestone = self.accounts[0].counts["tokens"] + tokens
        self._reached.clear()
        await self._reached.wait()

    async def _read(self, client: Client, pattern: str, account: Account) -> None:
        wishes = {"replay": "history", **self._subscribe}
        async with client.subscribe(pattern, self.session, **wishes) as events:
            self._standing += 1
            if self._standing == len(self.accounts):
                self.ready.set()
            await self._account(events, account)
            self.gaps += events.gaps

    async def _account(self, events: Subscription, account: Account) -> None:
        async for event in events:
            account.take(event)
            if account.counts["tokens"] >= self._milestone:
                self._reached.set()
            if self._last in account.turns and account.turns[self._last].over:
                return

    @property
    def is_through(self) -> bool:
        """Whether all of its accounts have come to their end."""
        return all(self._last in a.turns and a.turns[self._last].over for a in self.accounts)

    def __str__(self) -> str:
        where = [
            f"{account.name}: {dict(account.counts)}, "
            + ", ".join(
                f"{id} at {told.next}" for id, told in account.turns.items() if not told.over
            )
            for account in self.accounts
        ]
        return "; ".join(where)


def waiting(readers: Iterable[Reader]) -> Iterable[str]:
    """Those that are not through, and where they are."""
    return [str(reader) for reader in readers if not reader.is_through]


def check(readers: Iterable[Reader], said: dict[str, Said]) -> Counter[str]:
    """Compare what was told with what was said. Returns what all of them were told, in sum.

    Raises:
        Wrong: it is not the same.
    """
    counts: Counter[str] = Counter()
    for reader in readers:
        session = said[reader.session]
        for account in reader.accounts:
            for id, told in account.turns.items():
                _compare(account.name, id, told, session)
            if account.turns.keys() != session.tokens.keys():
                raise Wrong(f"{account.name} was told of {list(account.turns)}")
            counts += account.counts
        counts["gaps"] += reader.gaps
    return counts


def check_prefix(reader: Reader, turn: str, count: int, why: str) -> Counter[str]:
    """Compare what was told of a turn that the broker ended, by an error of the code `why` or
    with that finishReason. Returns what was told.

    Raises:
        Wrong: it is not a beginning of the turn, or not its end.
    """
    [account] = reader.accounts
    told = account.turns[turn]
    body = told.ending.body if told.ending is not None else {}
    if why not in (body.get("code"), body.get("finishReason")):
        raise Wrong(f"{account.name} was told of another end of {turn}: {told.ending}")
    said = told.next - 1  # the last one is the broker's own, and empty
    if not told.last or said > count or told.text != text(turn, said):
        raise Wrong(f"{account.name} was told {told.next} tokens of {turn}: {told.text!r}")
    return account.counts + Counter({"cut short": 1})


def check_endings(readers: Iterable[Reader], said: dict[str, Said]) -> Counter[str]:
    """Compare what turns have come to, where the broker may have forgotten some: of those its
    reader has no end, and knows that there was a gap. Returns what all were told, in sum.

    Raises:
        Wrong: it is not the same.
    """
    counts: Counter[str] = Counter()
    for reader in readers:
        session = said[reader.session]
        for account in reader.accounts:
            for id in session.tokens:
                told = account.turns.get(id)
                if told is None or told.ending is None:
                    if not reader.gaps:
                        raise Wrong(f"{account.name} lost {id}, and does not know of a gap")
                    counts["forgotten"] += 1
                elif told.ending.body.get("fullText") != session.text(id):
                    raise Wrong(f"{account.name} was told of another end of {id}: {told.ending}")
            counts += account.counts
        counts["gaps"] += reader.gaps
    return counts


def _compare(name: str, id: str, told: Told, session: Said) -> None:
    whole, count = session.text(id), session.tokens[id]
    if (told.text, told.next) != (whole, count + 1):
        raise Wrong(f"{name} was told {told.next} tokens of {id}, {told.text!r}, not {whole!r}")
    if told.ending is None or told.ending.topic != "agent.chat.turnCompleted":
        raise Wrong(f"{name} was told of another end of {id}: {told.ending}")
