"""The demo agent: a backend without a language model, to see a chat at work.

It answers each message as a real one would: it takes the message up, calls a
tool, streams its answer token by token, and tells when it failed.
"""

import asyncio
import random
import signal
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import AsyncIterator, Awaitable, Callable

import structlog
import uvloop

from broker.client import ClientError, Event
from broker.command import Command
from plugins.agent.client import AgentClient, Turn, connect
from plugins.agent.demo.answers import Answer, answer, tokens

log = structlog.get_logger("edgestream.demo")

AGENT = "demo"
FASTEST = 10_000
Sleep = Callable[[float], Awaitable[None]]


class DemoAgent:
    """Answers every user message that its client receives, all at the same time.

    Args:
        client: where it listens and speaks.
        rate: tokens per second of one answer.
        sleep, uniform: for tests that have no time to lose.
    """

    def __init__(
        self,
        client: AgentClient,
        rate: float,
        *,
        agent_id: str = AGENT,
        sleep: Sleep = asyncio.sleep,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._client = client
        self._rate = rate
        self._agent_id = agent_id
        self._sleep = sleep
        self._uniform = uniform

    async def run(self) -> None:
        """Listen and answer until cancelled; then end the open turns, and go offline."""
        async with self._client.subscribe("agent.chat.userMessage") as messages:
            await self._client.status(self._agent_id, "online")
            log.info("online", agent=self._agent_id, url=self._client.url)
            answers: set[asyncio.Task[None]] = set()
            try:
                async for event in messages:
                    if event.body.get("agentId", self._agent_id) == self._agent_id:
                        task = asyncio.create_task(self._take(event))
                        answers.add(task)
                        task.add_done_callback(answers.discard)
            finally:
                for task in answers:
                    task.cancel()
                await asyncio.gather(*answers, return_exceptions=True)
                await self._leave()

    async def _leave(self) -> None:
        try:
            await (await self._client.status(self._agent_id, "offline"))
        except ClientError as error:
            log.warning("offline_not_said", why=str(error))

    async def _take(self, event: Event) -> None:
        """Answer one message. A failure is the user's to know, and no other turn's concern."""
        body = event.body
        log.info("answering", session=body["sessionId"], message=body["messageId"])
        try:
            async with self._client.turn(
                body["sessionId"], self._agent_id, message_id=body["messageId"]
            ) as turn:
                await self._answer(turn, answer(body["text"]))
        except ClientError as error:
            log.warning("turn_refused", message=body["messageId"], why=str(error))
        except Exception:
            log.exception("answer_failed", message=body["messageId"])

    async def _answer(self, turn: Turn, made: Answer) -> None:
        await turn.thinking(made.thought)
        await self._sleep(self._uniform(0.2, 0.5))
        async with turn.tool(made.tool, made.arguments) as call:
            await self._sleep(self._uniform(0.4, 1.2))
            call.result(made.result)
        count = 0
        async for token in turn.until_cancelled(self._paced(made.text)):
            await turn.token(token)
            count += 1
        turn.usage(input_tokens=made.read, output_tokens=count)
        if not turn.cancelled.is_set():
            await turn.suggestions(made.suggestions)

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
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with connect(url) as client:
        await DemoAgent(client, rate).run()
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
