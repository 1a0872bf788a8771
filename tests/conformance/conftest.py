"""What every conformance test runs with: a clean log, a bystander, both encodings."""

import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import structlog

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
