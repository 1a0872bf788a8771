"""Fixtures that every test may use: a configuration, and a broker that listens."""

import asyncio
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
import uvloop
from hypothesis import settings
from sites import Site, running, starting

# How long an example takes says how busy the machine is, and nothing else.
settings.register_profile("untimed", parent=settings.default, deadline=None)
settings.load_profile("untimed")


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
    async with starting() as begin:
        yield begin
