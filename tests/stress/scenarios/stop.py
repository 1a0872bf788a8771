"""Stop, under a flood: every turn that is asked to end does, whether its backend hears or not."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator

from faults.account import Account, Wrong

from broker.client import Client, OperationRejected, connect
from plugins.agent.client import AgentClient

from ..agents import BREATH, agent
from ..run import Run, broker, metrics
from ..words import text, word

GRACE = 1.5
ENDLESS = 1_000_000


async def stop(run: Run) -> None:
    """Backends that hear end their turns themselves, and for the deaf ones the broker does.
    What the broker got is what it took, and what it refused."""
    sessions = run.size(6, 60)
    sent: Counter[str] = Counter()
    async with broker(EDGESTREAM_NAMESPACES__AGENT_CHAT__OPTIONS=f"{{grace = {GRACE}}}") as running:
        url = running.url("/ws/chat")
        async with asyncio.TaskGroup() as tasks:
            users = [
                tasks.create_task(_session(run, url, f"s{number}", sent))
                for number in range(sessions)
            ]
        counts = await metrics(running)
    told = sum((user.result() for user in users), Counter[str]())
    ended_by_broker = 2 * told["ended by the broker"]  # the last token, and the end
    run.hold("received and sent", counts["events_received"], sent["publishes"])
    run.hold(
        "received, accepted and refused",
        counts["events_received"],
        counts["events_accepted"] - ended_by_broker + counts["errors_sent"],
    )
    run.hold("refused, and why", counts["errors_sent"], counts.get("errors_sent:turn_closed", 0))
    run.hold("told and accepted", told["events"], counts["events_accepted"])
    run.tokens = told["tokens"]
    run.counts.update(
        sent=sent["publishes"],
        accepted=counts["events_accepted"],
        refused=counts["errors_sent"],
        told=told["tokens"],
        stops=told["stops"],
    )
    run.counts["ended by the broker"] = told["ended by the broker"]


async def _session(run: Run, url: str, session: str, sent: Counter[str]) -> Counter[str]:
    """A backend and a user, who stops each of its turns. Returns what the user was told."""
    chance = run.chance(session)
    deaf = [chance.random() < 0.4 for _ in range(run.size(2, 4))]
    turns = [f"{session}.{number}" for number in range(len(deaf))]
    speaker = agent(url, chance)
    async with connect(url) as user, speaker, asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(_watch(user, session, turns, chance))
        for turn, is_deaf in zip(turns, deaf, strict=True):
            await (_ignore if is_deaf else _hear)(speaker, session, turn)
        told = await watching
        told["ended by the broker"] = sum(deaf)
    sent["publishes"] += speaker._sender._number + len(turns)
    return told


async def _hear(speaker: AgentClient, session: str, turn_id: str) -> None:
    """A turn that ends when it is to."""
    async with speaker.turn(session, "agent", turn_id=turn_id) as turn:
        async for piece in turn.until_cancelled(_model(turn_id)):
            await turn.token(piece)
        turn.usage(input_tokens=1)


async def _model(turn_id: str) -> AsyncIterator[str]:
    for index in range(ENDLESS):
        if index % BREATH == 0:
            await asyncio.sleep(0)
        yield word(turn_id, index)


async def _ignore(speaker: AgentClient, session: str, turn_id: str) -> None:
    """A turn that goes on until the broker takes no more of it."""
    try:
        async with speaker.turn(session, "agent", turn_id=turn_id) as turn:
            async for piece in _model(turn_id):
                await turn.token(piece)
    except OperationRejected as error:
        if error.code != "turn_closed":
            raise


async def _watch(
    user: Client, session: str, turns: list[str], chance: random.Random
) -> Counter[str]:
    """Read along, and stop each turn somewhere. Returns what was told."""
    account = Account(session)
    left = dict.fromkeys(turns)
    stop_at = {turn: chance.randrange(1, 300) for turn in turns}
    async with user.subscribe("agent.chat.>", session, replay="history") as events:
        async for event in events:
            account.take(event)
            turn = event.body["turnId"]
            if turn in stop_at and account.turns[turn].next >= stop_at[turn]:
                del stop_at[turn]
                body = {"sessionId": session, "turnId": turn}
                await user.publish("agent.chat.cancel", body)
            if account.turns[turn].over:
                _check(account, turn)
                left.pop(turn, None)
                if not left:
                    break
    counts = account.counts
    counts["events"] += counts["merged"]
    counts["stops"] = len(turns)
    return counts


def _check(account: Account, turn: str) -> None:
    told = account.turns[turn]
    assert told.ending is not None
    body = told.ending.body
    count = told.next - 1
    if (body.get("finishReason"), body.get("outputTokens")) != ("cancelled", count):
        raise Wrong(f"{account.name} was told of another end of {turn}: {body}")
    if told.text != text(turn, count) or body["fullText"] != told.text:
        raise Wrong(f"{account.name} was told {told.text!r}, and in the end {body['fullText']!r}")
