"""Publishes that nobody is there for: they wait for a worker, a while and not too many."""

from typing import Any

from broker.auth import Principal
from broker.clock import CallLater, Clock
from broker.codec import Codec
from broker.config import Queue
from broker.deadlines import Timeouts
from broker.errors import Rejected, Unattended
from broker.event import Sender
from broker.ingress import Ingress, Intake, Publisher, Queued
from broker.outbox import Receipts
from broker.plugin import Plugin


class WaitingRoom:
    """What waits for a worker in one namespace.

    A publish that waits leaves its connection's row, so that those behind it go on; only
    their acknowledgement waits for it. When it has waited enough it is handled once more,
    and refused if there is still nobody.

    Args:
        intake: where it goes once there is a worker.
        bound: how much may wait; what comes then is refused at once.
    """

    def __init__(
        self, intake: Intake, bound: Queue, plugin: Plugin[Any], clock: Clock, call_later: CallLater
    ) -> None:
        self._intake = intake
        self._bound = bound
        self._plugin = plugin
        self._bytes = 0
        self._waiters: Timeouts[_Waiter] = Timeouts(
            clock, call_later, plugin.worker_wait, self._last_try
        )

    def __len__(self) -> int:
        return len(self._waiters)

    def keep(self, publisher: Publisher, message: Queued, refusal: Unattended) -> bool:
        """Let a publish wait; or not, because it has waited enough, or too much does."""
        if isinstance(publisher, _Waiter):
            if publisher.late:
                return False
            publisher = publisher.publisher
        if len(self) >= self._bound.messages or self._bytes >= self._bound.bytes:
            return False
        self._bytes += len(message.body)
        self._waiters.add(_Waiter(publisher, message, refusal))
        return True

    def admit(self) -> None:
        """A worker has come: let those be handled that it may be there for."""
        for waiter in list(self._waiters):
            if self._plugin.attended(waiter.refusal.topic, waiter.refusal.key):
                self._waiters.discard(waiter)
                self._handle(waiter)

    def _last_try(self, waiter: "_Waiter") -> None:
        waiter.late = True
        self._handle(waiter)

    def _handle(self, waiter: "_Waiter") -> None:
        self._bytes -= len(waiter.message.body)
        self._intake.handled -= 1  # it is counted once
        self._intake.put(waiter.ingress, waiter.message)


class _Waiter:
    """A publish that waits: a row of its own in the intake, for its publisher.

    Attributes:
        late: it has waited enough.
    """

    def __init__(self, publisher: Publisher, message: Queued, refusal: Unattended) -> None:
        self.publisher = publisher
        self.message = message
        self.refusal = refusal
        self.late = False
        self.ingress = Ingress(self)
        if message.id:
            self.ingress.receipts = Receipts(message.id, message.id - 1)
            publisher.defer(self.ingress.receipts)

    @property
    def principal(self) -> Principal:
        return self.publisher.principal

    @property
    def sender(self) -> Sender:
        return self.publisher.sender

    @property
    def codec(self) -> Codec:
        return self.publisher.codec

    def refuse(self, error: Rejected, id: int | None, topic: str) -> None:
        self.publisher.refuse(error, id, topic)

    def acknowledge(self) -> None:
        self.publisher.forget(self.ingress.receipts)

    def defer(self, receipts: Receipts) -> None:
        raise AssertionError("whoever waits again does so anew")

    def forget(self, receipts: Receipts) -> None:
        raise AssertionError("nothing was ever put off for it")

    def hold(self, intake: Intake) -> None:
        """There is no more of it than this one publish."""

    def release(self, intake: Intake) -> None:
        """It was never read from."""
