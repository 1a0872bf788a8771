"""The demo agent: a backend without a language model, to see a chat at work.

It answers each message as a real one would: it takes the message up, calls a
tool, streams its answer token by token, and tells when it failed. Some words make it
show more (`plugins.agent.demo.wishes`).
"""

import asyncio
import random
import signal
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import uvloop

from broker.command import Command
from plugins.agent.audio import Audio
from plugins.agent.client import Turn, TurnFailed, connect
from plugins.agent.demo.answers import Answer, answer, tokens
from plugins.agent.demo.hearing import hear
from plugins.agent.demo.wishes import DONE, STEPS, Wishes, wishes
from plugins.agent.worker import Message, Worker

AGENT = "demo"
FASTEST = 10_000

DRAIN = 2.0
"""Seconds that an answer may still take when the agent is told to stop."""

FAILS_AFTER = 12
"""Tokens of an answer that is asked to fail."""

KEPT = 100
"""Answers that it keeps when asked to, the last ones."""

Sleep = Callable[[float], Awaitable[None]]


class DemoAgent:
    """What the demo agent says to a message; its `worker` sees to the rest.

    Args:
        rate: tokens per second of one answer.
        sleep, uniform: for tests that have no time to lose.

    Attributes:
        saved: the answers that it was asked to save.
    """

    def __init__(
        self,
        rate: float,
        *,
        agent_id: str = AGENT,
        sleep: Sleep = asyncio.sleep,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.worker = Worker(agent_id, drain=DRAIN)
        self.worker.on_message(self._answer)
        self.worker.on_audio(self._hear)
        self.saved: deque[str] = deque(maxlen=KEPT)
        self._rate = rate
        self._sleep = sleep
        self._uniform = uniform

    async def _hear(self, audio: Audio) -> str:
        return await asyncio.to_thread(hear, await audio.read())

    async def _answer(self, message: Message, turn: Turn) -> None:
        made, wanted = answer(message.text), wishes(message.text)
        await turn.thinking(made.thought)
        await self._sleep(self._uniform(0.2, 0.5))
        if wanted.progress:
            await self._work(turn)
        if wanted.tools:
            await self._call(turn, "count_words", {}, {"words": len(message.text.split())})
        await self._call(turn, made.tool, made.arguments, made.result)
        count = 0
        async for token in turn.until_cancelled(self._paced(made.text)):
            await turn.token(token)
            count += 1
            if wanted.fail and count == FAILS_AFTER:
                raise TurnFailed("asked_to_fail", "You asked me to fail.", retryable=True)
        turn.usage(input_tokens=made.read, output_tokens=count)
        if not turn.cancelled.is_set():
            await self._add(turn, made, wanted)

    async def _work(self, turn: Turn) -> None:
        for percent, step in STEPS:
            await turn.progress(percent, step)
            await self._sleep(self._uniform(0.3, 0.6))
        await turn.progress(*DONE)

    async def _call(
        self, turn: Turn, tool: str, arguments: dict[str, Any], result: dict[str, Any]
    ) -> None:
        async with turn.tool(tool, arguments) as call:
            await self._sleep(self._uniform(0.4, 1.2))
            call.result(result)

    async def _add(self, turn: Turn, made: Answer, wanted: Wishes) -> None:
        """What comes behind the text."""
        if wanted.theme:
            await turn.action({"type": "change_theme", "value": wanted.theme})
        await turn.suggestions(made.suggestions)
        if wanted.save:
            self.saved.append(turn.text)
            await turn.saved(turn.turn_id)

    async def _paced(self, text: str) -> AsyncIterator[str]:
        """The tokens of `text`, at the set rate: by the clock, so that delays do not add up."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        for token in tokens(text):
            due += 1 / self._rate
            await self._sleep(max(0.0, due - loop.time()))
            yield token


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--url",
        default="ws://127.0.0.1:8080/ws/chat",
        help="where the broker is (default: %(default)s)",
    )
    parser.add_argument(
        "--rate", type=_rate, default=40.0, help="tokens per second (default: %(default)g)"
    )


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate <= FASTEST:
        raise ArgumentTypeError(f"{text!r} is not between 0 and {FASTEST} tokens a second")
    return rate


def _run(args: Namespace) -> int:
    return uvloop.run(_serve(args.url, args.rate))


async def _serve(url: str, rate: float) -> int:
    worker = DemoAgent(rate).worker
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
    async with connect(url) as client:
        await worker.run(client)
    return 0


COMMAND = Command(
    "demo-agent",
    "run an agent without a language model, that answers every chat message",
    _add_arguments,
    _run,
    """\
  edgestream demo-agent
  edgestream demo-agent --url ws://127.0.0.1:8080/ws/chat --rate 80""",
    stopped=0,
)
