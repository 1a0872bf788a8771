"""A client's connections: make one, use it, watch it, make the next one."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from msgspec import UNSET
from websockets.client import process_exception
from websockets.exceptions import WebSocketException

from broker.client.backoff import Backoff
from broker.client.errors import CannotConnect, ClientClosed, ClientError, OperationRejected
from broker.client.gate import Gate
from broker.client.link import Door, Link, Lost
from broker.client.registry import Registry
from broker.client.sender import Sender
from broker.messages import (
    Ack,
    Dropped,
    Error,
    EventMessage,
    Replayed,
    Subscribed,
    Unsubscribed,
    Welcome,
)

log = structlog.get_logger("edgestream.client")

SILENT_TICKS = 3
"""A broker unheard for so many halves of its heartbeat is gone."""


class Upkeep:
    """Keeps a sender and a registry connected, until closed or refused.

    Attributes:
        welcome: what the broker said when it last let us in.
        failure: why there will be no connection any more, once that is so.
    """

    def __init__(
        self,
        door: Door,
        sender: Sender,
        registry: Registry,
        gate: Gate,
        backoff: Backoff,
        sleep: Callable[[float], Awaitable[None]],
        *,
        wait: bool,
    ) -> None:
        self._door = door
        self._sender = sender
        self._registry = registry
        self._gate = gate
        self._backoff = backoff
        self._sleep = sleep
        self._wait = wait
        self._link: Link | None = None
        self._task: asyncio.Task[None] | None = None
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.welcome: Welcome | None = None
        self.failure: ClientError | None = None
        self._take: dict[type, Callable[[Any], None]] = {
            EventMessage: registry.event,
            Ack: lambda ack: sender.acknowledged(ack.id),
            Error: self._take_error,
            Subscribed: registry.subscribed,
            Replayed: registry.replayed,
            Unsubscribed: registry.unsubscribed,
            Dropped: registry.dropped,
        }

    async def open(self) -> None:
        """Connect for the first time.

        Raises:
            ClientError: there will be no connection.
        """
        self._task = asyncio.create_task(self._run())
        try:
            await asyncio.shield(self._opened)
        except asyncio.CancelledError:
            await self.close()
            raise
        if self.failure is not None:
            raise self.failure

    async def close(self) -> None:
        """End it, in good order where there is a connection."""
        self._fail(ClientClosed("the client is closed"))
        if self._link is not None:
            await self._link.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def _fail(self, failure: ClientError) -> None:
        if self.failure is None:
            self.failure = failure
            self._sender.fail(failure)
            self._registry.fail(failure)
        self._set_opened()

    def _set_opened(self) -> None:
        if not self._opened.done():
            self._opened.set_result(None)

    async def _run(self) -> None:
        """Connect, serve, connect again."""
        try:
            delay = 0.0
            while self.failure is None:
                link = await self._connect(delay)
                await self._serve(link)
                delay = self._backoff.next(link.retry_after)
        except ClientError as error:
            self._fail(error)
        except Exception as error:
            self._fail(ClientError(f"the client itself failed: {error!r}"))
            log.exception("client_failed")

    async def _connect(self, delay: float) -> Link:
        """A new connection, after `delay` seconds, and as many attempts as it takes."""
        while True:
            if delay:
                await self._sleep(delay)
            try:
                return await self._door.open()
            except (OSError, TimeoutError, WebSocketException, Lost) as error:
                self._consider(error)
                delay = self._backoff.next()
                log.info("cannot_connect", why=str(error), retry_in=round(delay, 2))

    def _consider(self, error: Exception) -> None:
        """Raise `CannotConnect` where another attempt makes no sense, or is not wanted."""
        hopeless = not isinstance(error, Lost) and process_exception(error) is not None
        is_first = not self._opened.done()
        if hopeless or (is_first and not self._wait):
            why = str(error) or type(error).__name__
            raise CannotConnect(f"cannot connect to {self._door.url}: {why}") from error

    async def _serve(self, link: Link) -> None:
        """Use `link` for as long as it lives."""
        self._link = link
        self.welcome = link.welcome
        self._registry.up()
        self._sender.up(link, link.welcome.limits.maxMessageBytes)
        self._set_opened()
        watch = asyncio.create_task(self._watch(link))
        try:
            while True:
                for message in await link.receive():
                    take = self._take.get(type(message))
                    if take is not None:
                        take(message)
                if self._gate.is_shut:
                    await self._gate.passage()
        except Lost as lost:
            if self.failure is None:
                log.info("connection_lost", why=str(lost))
        finally:
            watch.cancel()
            self._link = None
            link.abort()
            self._sender.down()
            self._registry.down()

    async def _watch(self, link: Link) -> None:
        """Cut `link` when the broker falls silent; show it that we live when we do not read."""
        silent = 0
        while silent < SILENT_TICKS:
            heard = link.heard
            await self._sleep(link.welcome.heartbeatMs / 2000)
            if self._gate.is_shut:
                link.beat()
                silent = 0
                log.warning("consumer_too_slow", full_buffers=len(self._gate.full))
            elif link.heard == heard:
                silent += 1
            else:
                silent = 0
                self._backoff.reset()
        log.info("broker_silent")
        link.abort()

    def _take_error(self, error: Error) -> None:
        """Find out what an error answers."""
        if error.id is not UNSET:
            receipt = self._sender.rejected(error.id)
            if receipt is not None:
                self._sender.reject(receipt, OperationRejected.of(error, receipt.topic))
                return
            if self._registry.refused(error.id, error):
                return
        log.warning("broker_error", code=error.code, why=error.message)
