"""What every conformance test runs with: a clean log, a bystander, both encodings, an engine."""

import logging
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import sites
import structlog
from msgspec.structs import replace

from broker import config

from .client import CODECS, Peer, connect


@pytest.fixture(autouse=True)
def clean_log(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Nothing that a client does is the broker's own failure: it logs no error."""
    handlers = logging.getLogger().handlers[:]
    yield
    errors = capsys.readouterr().err
    logging.getLogger().handlers[:] = handlers  # they write to a stream that ends here
    structlog.reset_defaults()
    assert errors == ""


@pytest.fixture(autouse=True)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """What the namespaces are stored in, unless a test says so itself: see `engines`."""
    name = str(getattr(request, "param", "memory"))
    if name == "sqlite":
        plain, numbers = sites.settings, count()

        def durable(**changes: dict[str, Any]) -> config.Config:
            configured = plain(**changes)
            start = next(numbers)
            namespaces = {
                name: replace(
                    settings,
                    engine="sqlite",
                    storage=config.Storage(str(tmp_path / f"{name}-{start}.db")),
                )
                if settings.engine == "memory"
                else settings
                for name, settings in configured.namespaces.items()
            }
            return replace(configured, namespaces=namespaces)

        monkeypatch.setattr(sites, "settings", durable)
    return name


@pytest.fixture(params=CODECS)
def codec(request: pytest.FixtureRequest) -> str:
    """Each of the two encodings."""
    return str(request.param)


@pytest.fixture
async def peer(site: Any, codec: str) -> AsyncIterator[Peer]:
    """A connection to the server `chat`, in each encoding."""
    async with connect(site.ws, codec) as it:
        yield it


@pytest.fixture
async def other(site: Any) -> AsyncIterator[Peer]:
    """Another connection to the server `chat`."""
    async with connect(site.ws) as it:
        yield it


@pytest.fixture
async def open_peer(site: Any, codec: str) -> AsyncIterator[Peer]:
    """A connection to the server `bas`, whose `workflow` has no schema, in each encoding."""
    async with connect(site.server("bas"), codec) as it:
        yield it


@pytest.fixture
async def bystander(site: Any) -> AsyncIterator[Peer]:
    """Somebody with no part in it, who still gets an event when the test is over."""
    async with connect(site.server("bas")) as it:
        await it.subscribe("workflow.bystander")
        yield it
        await it.publish("workflow.bystander", {"still": "here"})
        assert (await it.get("event"))["body"] == {"still": "here"}
