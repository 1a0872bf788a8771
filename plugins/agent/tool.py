"""A tool call inside a turn."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from msgspec import UNSET

from broker.client import ClientError
from plugins.agent.delivery import Delivery
from plugins.agent.failure import TurnFailed
from plugins.agent.messages import ToolCallCompleted, ToolCallStarted


class ToolCall:
    """One call of a tool, made by `Turn.tool`."""

    def __init__(
        self, delivery: Delivery, started: ToolCallStarted, clock: Callable[[], float]
    ) -> None:
        self.call_id = started.toolCallId
        self._delivery = delivery
        self._clock = clock
        self._started = started
        self._began = 0.0
        self._result: Any = UNSET

    def result(self, value: Any) -> None:
        """What the tool gave; sent when the block is left. None is no result."""
        self._result = UNSET if value is None else value

    async def start(self) -> Self:
        """Publish that the tool runs."""
        self._began = self._clock()
        await self._delivery.open_call(self._started)
        return self

    async def complete(self, result: Any = None, *, error: str | None = None) -> None:
        """Publish that it has ended: with `result`, or with `error`."""
        completed = ToolCallCompleted(
            self._started.sessionId,
            self._started.turnId,
            self.call_id,
            self._started.toolName,
            UNSET if result is None or result is UNSET else result,
            UNSET if error is None else error,
            round((self._clock() - self._began) * 1000),
        )
        await self._delivery.close_call(completed)

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            await self.complete(self._result)
        elif isinstance(error, TurnFailed):
            await self.complete(error=error.message)
        elif isinstance(error, asyncio.CancelledError):
            await self.complete(error="cancelled")
        elif isinstance(error, Exception) and not isinstance(error, ClientError):
            await self.complete(error=f"{self._started.toolName} failed")
