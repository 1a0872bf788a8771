"""Workers of one group that are killed, one after the other, while others take their place:
each message has one answer, whole or cut short, and a user who asks again gets it."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

from faults.account import Account, Wrong

from broker.client import Client, Subscription, connect

from ..processes import process
from ..run import Run, broker, metrics
from ..words import text
from ..worker import tokens_of

GRACE = 1.0
ALIVE = 2
"""How many workers there are at any time, at least."""


async def workers(run: Run) -> None:
    """Every message is answered once, whole or cut short; nothing is left in the queue."""
    kills, sessions = run.size(2, 15), run.size(6, 40)
    chance = run.chance("kills")
    over = asyncio.Event()
    async with (
        broker(EDGESTREAM_NAMESPACES__AGENT_CHAT__OPTIONS=f"{{grace = {GRACE}}}") as running,
        AsyncExitStack() as stack,
    ):
        url = running.url("/ws/chat")
        alive = [await stack.enter_async_context(process("worker", url)) for _ in range(ALIVE)]
        async with asyncio.TaskGroup() as tasks:
            users = [
                tasks.create_task(_Chat(f"s{number}").talk(url, over)) for number in range(sessions)
            ]
            for _ in range(kills):
                alive.append(await stack.enter_async_context(process("worker", url)))
                await asyncio.sleep(chance.uniform(0.1, 0.8))
                alive.pop(chance.randrange(len(alive) - 1)).kill()
            over.set()
        counts = await metrics(running)
    told = sum((user.result() for user in users), Counter[str]())
    run.hold("told and accepted", told["events"], counts["events_accepted"])
    run.hold("asked and still untaken", counts["untaken"], 0)
    run.hold("refused", counts["errors_sent"], 0)
    run.tokens = told["tokens"]
    run.counts.update(kills=kills)
    for name in ("answered", "cut short", "tokens"):
        run.counts[name] = told[name]


class _Chat:
    """A user's session, and what came of it."""

    def __init__(self, session: str) -> None:
        self._session = session
        self._account = Account(session)
        self._turns: dict[str, str] = {}  # of each message

    async def talk(self, url: str, over: asyncio.Event) -> Counter[str]:
        """One question after the other; what is cut short is asked again."""
        counts: Counter[str] = Counter()
        async with (
            connect(url) as client,
            client.subscribe("agent.chat.>", self._session, coalesce="never") as events,
        ):
            number = 0
            while not over.is_set():
                number += 1
                while not await self._ask(client, events, f"{self._session}.{number}"):
                    counts["cut short"] += 1
                    number += 1
                counts["answered"] += 1
        return counts + self._account.counts

    async def _ask(self, client: Client, events: Subscription, message_id: str) -> bool:
        """Ask, and read the answer to its end. Returns whether it is whole."""
        body = {"sessionId": self._session, "messageId": message_id, "text": "?"}
        await (await client.publish("agent.chat.userMessage", body))
        async for event in events:
            self._account.take(event)
            turn = event.body.get("turnId")
            if event.topic == "agent.chat.turnStarted":
                self._begin(event.body)
            elif event.topic == "agent.chat.error" and turn is None:
                raise Wrong(f"nobody has answered {message_id}: {event}")
            elif turn is not None and self._account.turns[turn].over:
                if self._turns.get(message_id) != turn:
                    raise Wrong(f"{turn} has ended, but does not answer {message_id}")
                return self._check(turn, message_id)
        raise Wrong("the subscription ended")

    def _begin(self, body: dict[str, Any]) -> None:
        message_id = body.get("messageId")
        if message_id is None or message_id in self._turns:
            raise Wrong(f"{self._turns.get(message_id)} answers {message_id}; and now {body}")
        self._turns[message_id] = body["turnId"]

    def _check(self, turn: str, message_id: str) -> bool:
        """Whether the answer is whole; if not, it is a beginning, and its worker was lost."""
        told = self._account.turns[turn]
        assert told.ending is not None
        count = told.next - 1
        code = told.ending.body.get("code")
        if told.text != text(message_id, count):
            raise Wrong(f"{self._session} was told {told.text!r} as an answer to {message_id}")
        if code is None and count != tokens_of(message_id):
            raise Wrong(f"the answer to {message_id} ends after {count} tokens")
        if code not in (None, "publisher_lost"):
            raise Wrong(f"the answer to {message_id} was cut short: {told.ending}")
        return code is None
