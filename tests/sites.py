"""A broker that listens, with the shipped configuration, for a test."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from broker import config
from broker.clock import Clock
from broker.logs import configure
from broker.server import Broker

ROOT = Path(__file__).parent.parent


def settings(**changes: dict[str, Any]) -> config.Config:
    """The shipped configuration on a free port; a change names a table and its values."""
    shipped = config.load(ROOT / "config.toml", {})
    plain = msgspec.to_builtins(shipped)
    plain["listen"]["port"] = 0
    plain["logging"]["level"] = "error"
    for table, values in changes.items():
        _merge(plain[table], values)
    return msgspec.convert(plain, config.Config)


def _merge(table: dict[str, Any], values: dict[str, Any]) -> None:
    for name, value in values.items():
        if isinstance(value, dict) and isinstance(table.get(name), dict):
            _merge(table[name], value)
        else:
            table[name] = value


@dataclass
class Site:
    """A running broker, by its addresses."""

    broker: Broker

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.broker.port}"

    @property
    def _secure(self) -> str:
        return "s" if self.broker.settings.listen.tls_certificate else ""

    @property
    def url(self) -> str:
        return f"http{self._secure}://{self.address}"

    @property
    def ws(self) -> str:
        return self.server("chat")

    def server(self, name: str | None) -> str:
        """The WebSocket address of a server; None for all of them."""
        return f"ws{self._secure}://{self.address}/ws" + (f"/{name}" if name else "")


@asynccontextmanager
async def running(
    only: Collection[str] = (), clock: Clock | None = None, **changes: dict[str, Any]
) -> AsyncIterator[Site]:
    """A broker with the shipped configuration, but for `changes`; see `settings`.

    Of its servers it serves `only` some, if they are given; its time is that of `clock`.
    """
    configured = settings(**changes)
    configure(configured.logging)
    broker = Broker(configured, clock, servers=only)
    await broker.start()
    try:
        yield Site(broker)
    finally:
        await broker.stop()


@asynccontextmanager
async def starting() -> AsyncIterator[Callable[..., Awaitable[Site]]]:
    """Starts brokers as `running` does, which all end with the context."""
    async with AsyncExitStack() as stack:

        async def begin(only: Collection[str] = (), **changes: Any) -> Site:
            return await stack.enter_async_context(running(only, **changes))

        yield begin
