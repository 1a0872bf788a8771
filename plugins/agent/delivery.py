"""Getting a turn's events accepted, whatever the broker missed or forgot of it.

Everything is sent without waiting, so a rejection comes when more is on its way.
A repair sends again what is needed; what left before it, and is rejected for the
same reason, is *stale*: the repair has taken care of its text.
"""

from collections.abc import Iterator

import msgspec
import structlog
from msgspec import UNSET

from broker.client import Client, OperationRejected, Receipt
from plugins.agent.messages import (
    MAX_INT,
    NAMESPACE,
    PREFIX,
    Body,
    Token,
    ToolCallCompleted,
    ToolCallStarted,
    TurnStarted,
)

log = structlog.get_logger("edgestream.agent")

MAX_REPAIRS = 10
"""A turn that needs more than so many in a row, of which none was accepted, is given up."""

NOT_OURS = frozenset({"turn_closed", "turn_owned"})
"""The refusals of a turn that somebody else has ended, or will."""

STARTED, TOKEN, TOOL_STARTED = PREFIX + "turnStarted", PREFIX + "token", PREFIX + "toolCallStarted"


class Delivery:
    """The events of one turn on their way to the broker.

    Attributes:
        texts: the text of each token so far.
        tools_used: the name of each tool called so far.
        failure: why the broker refused a part of the turn for good, once it has.
        repaired: how often the broker had lost a part of it.
    """

    def __init__(self, client: Client, started: TurnStarted) -> None:
        self.texts: list[str] = []
        self.tools_used: list[str] = []
        self.failure: OperationRejected | None = None
        self._client = client
        self._started = started
        self._text_ended = False
        self._said = 0
        self._open_calls: dict[str, ToolCallStarted] = {}
        self.repaired = 0
        self._in_vain = 0
        self._repaired_at = 0
        self._repair: Receipt | None = None
        self._end_number = MAX_INT
        self._ended = False
        self._on_rejected = self._rejected  # bound once, not for each token

    async def send(self, name: str, body: Body) -> Receipt:
        """Publish `body` on the chat topic `name`, as a part of the turn.

        Raises:
            OperationRejected: the broker has refused a part of the turn for good.
            ClientError: there is no connection any more.
        """
        self.check()
        return await self._client.publish(PREFIX + name, body, on_rejected=self._on_rejected)

    async def say(self, name: str, body: Body) -> None:
        """`send` what has no name of its own: one is given to it, so that it can be repeated."""
        self.check()
        self._said += 1
        name_of_its_own = f"{self._started.turnId}:{self._said}"
        await self._client.publish(
            PREFIX + name, body, dedupe=name_of_its_own, on_rejected=self._on_rejected
        )

    async def send_text(self, text: str, *, is_last: bool) -> None:
        """Publish the next token. Raises as `send`."""
        self.check()
        if self._text_ended:
            raise RuntimeError("this turn has ended")
        index = len(self.texts)
        self.texts.append(text)
        self._text_ended = is_last
        turn = self._started
        body = Token(turn.sessionId, turn.turnId, turn.agentId, text, index, is_last)
        await self._client.publish(TOKEN, body, on_rejected=self._on_rejected)

    async def open_call(self, started: ToolCallStarted) -> None:
        """Publish that a tool call has begun. Raises as `send`."""
        self._open_calls[started.toolCallId] = started
        if started.toolName not in self.tools_used:
            self.tools_used.append(started.toolName)
        await self.send("toolCallStarted", started)

    async def close_call(self, completed: ToolCallCompleted) -> None:
        """Publish that a tool call has ended. Raises as `send`."""
        self._open_calls.pop(completed.toolCallId, None)
        await self.send("toolCallCompleted", completed)

    async def end(self, name: str, body: Body) -> None:
        """Publish what ends the turn, and wait until it is accepted. Raises as `send`."""
        while not self._ended:
            receipt = await self._client.publish(PREFIX + name, body)
            self._end_number = receipt.number
            try:
                await receipt
            except OperationRejected as error:
                if error.code != "turn_not_started" or self.failure is not None:
                    self.failure = self.failure or error
                    raise self.failure from None
                if receipt.number > self._repaired_at:
                    self._restore(error)
            else:
                self._ended = True

    @property
    def is_open(self) -> bool:
        """Whether nothing has ended the turn, so that its readers wait for more."""
        return not self._ended and (self.failure is None or self.failure.code not in NOT_OURS)

    def check(self) -> None:
        """Raise `failure`, if there is one."""
        if self.failure is not None:
            raise self.failure

    # --------------------------------------------------------------------- repairs

    def _rejected(self, receipt: Receipt, error: OperationRejected) -> None:
        """The broker refused a part of the turn: repair it, or give it up."""
        if self._ended or self.failure is not None:
            return
        stale = receipt.number < self._repaired_at
        if error.code == "token_gap":
            if not stale:
                self._rewind(error)
        elif error.code == "turn_not_started":
            if not stale:
                self._restore(error)
            if receipt.topic not in (STARTED, TOKEN):  # those are restored as a whole
                self._publish(receipt.topic, receipt.message.body, receipt.message.dedupe or None)
        elif error.code != "turn_closed" or receipt.number < self._end_number:
            self._give_up(error)  # what comes after the end needs no repair: that has all the text

    def _rewind(self, error: OperationRejected) -> None:
        """The broker missed tokens: send again from the one that it expects."""
        expected = error.detail.get("expected")
        if isinstance(expected, int) and 0 <= expected < len(self.texts):
            self._count_repair(error)
            self._repaired_at = self._repeat_text(expected)
        else:
            self._give_up(error)

    def _restore(self, error: OperationRejected) -> None:
        """The broker lost the turn: begin it again, with all the text so far."""
        self._count_repair(error)
        self._repaired_at = self._publish(STARTED, self._started).number
        self._repeat_text(0)
        for started in self._open_calls.values():
            self._publish(TOOL_STARTED, started)

    def _repeat_text(self, index: int) -> int:
        """Publish all tokens from `index` on again, in few events. Returns the number of the
        first of them."""
        first = 0
        for begin, until in self._pieces(index):
            body = self._token(begin, until)
            self._repair = self._publish(TOKEN, body)
            first = first or self._repair.number
        return first

    def _pieces(self, index: int) -> Iterator[tuple[int, int]]:
        """From which token to before which one the text fits into one body; one token does."""
        most = self._most_bytes - len(msgspec.json.encode(self._token(MAX_INT, 2 * MAX_INT)))
        begin, size = index, 0
        for number in range(index, len(self.texts)):
            bytes = len(msgspec.json.encode(self.texts[number]))  # MessagePack has no more
            if number > begin and size + bytes > most:
                yield begin, number
                begin, size = number, 0
            size += bytes
        if begin < len(self.texts):
            yield begin, len(self.texts)

    @property
    def _most_bytes(self) -> int:
        welcome = self._client.welcome
        assert welcome is not None, "it has answered"
        limits = welcome.limits
        return limits.maxBodyBytes.get(NAMESPACE, limits.maxMessageBytes)

    def _token(self, begin: int, until: int) -> Token:
        turn = self._started
        count = until - begin if until - begin > 1 else UNSET
        last = self._text_ended and until >= len(self.texts)
        text = "".join(self.texts[begin:until])
        return Token(turn.sessionId, turn.turnId, turn.agentId, text, begin, last, count)

    def _count_repair(self, error: OperationRejected) -> None:
        last = self._repair
        was_of_use = last is not None and last.done and last.error is None
        self._in_vain = 1 if was_of_use else self._in_vain + 1
        self.repaired += 1
        log.info("turn_repaired", turn=self._started.turnId, code=error.code)
        if self._in_vain > MAX_REPAIRS:
            self._give_up(error)

    def _give_up(self, error: OperationRejected) -> None:
        log.warning("turn_refused", turn=self._started.turnId, code=error.code, why=error.message)
        self.failure = error

    def _publish(self, topic: str, body: object, dedupe: str | None = None) -> Receipt:
        return self._client.publish_now(topic, body, dedupe=dedupe, on_rejected=self._on_rejected)
