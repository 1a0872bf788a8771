"""What becomes of one published message."""

import asyncio
from collections.abc import Callable, Generator
from typing import TypeAlias

from msgspec import Struct

from broker.client.errors import ClientError, OperationRejected
from broker.client.gate import Gate
from broker.messages import Publish

OnRejected: TypeAlias = Callable[["Receipt", OperationRejected], None]
"""Called with a rejection, and the receipt of the message that it is about."""


class Receipt(Struct, eq=False):
    """One published message. ``await receipt`` waits until it is acknowledged.

    It costs nothing that is not asked for: there is no task and no future behind
    a receipt that nobody awaits.

    Attributes:
        message: the message as sent; its id changes when it is sent again.
        size: bytes of its encoded body.
        number: its place among all that this client published; grows.
        done: whether the broker has answered.
        error: the rejection, if that was the answer.
        claimed: whether somebody has been told of that rejection.
    """

    message: Publish
    size: int
    number: int
    gate: Gate
    on_rejected: OnRejected | None = None
    done: bool = False
    error: ClientError | None = None
    claimed: bool = False
    awaiting: int = 0
    answered: asyncio.Future[None] | None = None

    @property
    def topic(self) -> str:
        return self.message.topic

    def __await__(self) -> Generator[None, None, None]:
        """Wait for the acknowledgement.

        Raises:
            OperationRejected: the broker refused the message.
            ConnectionRefusedByBroker: the broker will not have this client any more.
            ClientClosed: the client was closed before there was an answer.
        """
        return self._acknowledged().__await__()

    async def _acknowledged(self) -> None:
        self.awaiting += 1
        try:
            await self.settled()
        finally:
            self.awaiting -= 1
        if self.error is not None:
            self.claimed = True
            raise self.error

    async def settled(self) -> None:
        """Wait for the answer, whatever it is."""
        if self.done:
            return
        if self.answered is None:
            self.answered = asyncio.get_running_loop().create_future()
        with self.gate.awaiting_answer():
            await asyncio.shield(self.answered)

    def settle(self, error: ClientError | None = None) -> None:
        """The answer is there. To be called once."""
        self.done = True
        self.error = error
        if self.answered is not None:
            self.answered.set_result(None)
