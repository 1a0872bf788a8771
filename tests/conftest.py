"""Fixtures that every test may use: a configuration, and a broker that listens."""

import asyncio
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme
import uvloop

from broker import config
from broker.clock import Clock
from broker.logs import configure
from broker.server import Broker

ROOT = Path(__file__).parent.parent


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Tests run on the loop that the broker runs on."""
    return {"uvloop": uvloop.new_event_loop}


def pytest_configure() -> None:
    """An edited module that was not compiled anew would be tested as it was before."""
    for name, module in list(sys.modules.items()):
        built = Path(getattr(module, "__file__", None) or "")
        if name.startswith(("broker.", "plugins.")) and built.suffix == ".so":
            source = built.with_name(built.name.partition(".")[0] + ".py")
            if source.stat().st_mtime > built.stat().st_mtime:
                pytest.exit(f"{source} has changed since it was compiled: use make", returncode=3)


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


@dataclass
class Identity:
    """A certificate for this machine, and the authority that signed it.

    Attributes:
        certificate, key: PEM files of the certificate and its key.
        authority: the PEM file of who signed it, whom nobody trusts by default.
    """

    certificate: Path
    key: Path
    authority: Path

    @property
    def listen(self) -> dict[str, str]:
        """The settings that it takes to listen with it."""
        return {"tls_certificate": str(self.certificate), "tls_key": str(self.key)}

    @property
    def trust(self) -> ssl.SSLContext:
        """For clients: trust the authority, and nobody else."""
        return ssl.create_default_context(cafile=str(self.authority))


@pytest.fixture(scope="session")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    """A new certificate for 127.0.0.1."""
    folder = tmp_path_factory.mktemp("identity")
    made = Identity(folder / "certificate.pem", folder / "key.pem", folder / "authority.pem")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(made.authority)
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(made.key)
    for chained in issued.cert_chain_pems:
        chained.write_to_path(made.certificate, append=True)
    return made


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """A broker with the shipped configuration, on a free port."""
    async with running() as it:
        yield it


@pytest.fixture
async def start() -> AsyncIterator[Callable[..., Awaitable[Site]]]:
    """Starts brokers: `site = await start(limits={"max_subscriptions": 2})`."""
    async with AsyncExitStack() as stack:

        async def begin(only: Collection[str] = (), **changes: Any) -> Site:
            return await stack.enter_async_context(running(only, **changes))

        yield begin
