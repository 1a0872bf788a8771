"""Chat over HTTP: what is refused, and how it is told; and where the dialects are."""

import httpx
import pytest

from broker.plugin import ConfigError
from plugins.agent.chat import ChatPlugin
from plugins.agent.dialects import DIALECTS
from plugins.agent.messages import PREFIX
from plugins.agent.options import ChatOptions, DialectOptions

from .chat import ASK, SOON, options, settled


@pytest.fixture
async def http(site):
    async with httpx.AsyncClient(base_url=site.url, trust_env=False) as client:
        yield client


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_what_does_not_fit_is_named(http, dialect):
    """422 with the field, in the front end's words; 400, 405, 406, 413, 415."""
    path, body = ASK[dialect]
    lacking = {name: value for name, value in body.items() if name != "message"}
    answer = await http.post(path, json=lacking)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "message")
    for method in ("GET", "PUT", "PATCH", "DELETE", "OPTIONS", "SEARCH"):
        answer = await http.request(method, path)
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
        assert answer.json()["error"]["code"] == "method_not_allowed"
    for status, code, sent in (
        (400, "bad_message", {"content": b"{"}),
        (422, "bad_message", {"content": b"[]"}),
        (422, "bad_message", {"content": b"null"}),
        (406, "not_acceptable", {"json": body, "headers": {"Accept": "image/png"}}),
        (413, "too_large", {"json": {**body, "message": "x" * (1 << 20)}}),
        (415, "unsupported_type", {"content": b"x", "headers": {"Content-Type": "text/plain"}}),
        (415, "unsupported_type", {"json": body, "headers": {"Content-Encoding": "gzip"}}),
        (403, "forbidden", {"json": body, "headers": {"Origin": "https://evil.example"}}),
    ):
        answer = await http.post(path, **sent)
        assert answer.status_code == status
        assert answer.json()["error"]["code"] == code
        assert answer.json()["error"].get("field") == {422: "$", 413: "message"}.get(status)
    for method, gone in ("POST", f"/{dialect}/api/chat//send"), ("GET", f"/{dialect}/nope"):
        answer = await http.request(method, gone)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_text_over_its_namespace_s_limit_is_named_too(start, dialect):
    """Though its request is small enough."""
    site = await start(namespaces={"agent.chat": {"max_body_bytes": 1024}})
    path, body = ASK[dialect]
    async with httpx.AsyncClient(base_url=site.url, trust_env=False) as http:
        answer = await http.post(path, json={**body, "message": "x" * 2000})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["field"]) == (413, "too_large", "message")


@pytest.mark.parametrize(
    ("dialect", "changed", "accept"),
    [
        ("octopus", {}, "application/json"),
        ("opshub", {}, "text/event-stream;q=0, */*"),
        ("guide", {"stream": True}, "text/html"),
        ("guide", {}, "application/json;q=0, text/event-stream;q=0"),
        ("strakly", {}, "text/event-streams"),
    ],
)
async def test_what_it_would_be_answered_with_has_to_be_acceptable(
    http, site, dialect, changed, accept
):
    """What the dialect has, streams alone or JSON as well: 406, and nobody is asked."""
    path, body = ASK[dialect]
    path = path.partition("?")[0]
    answer = await http.post(path, json={**body, **changed}, headers={"Accept": accept})
    assert (answer.status_code, answer.json()["error"]["code"]) == (406, "not_acceptable")
    await settled(site, 0)


async def test_where_they_are_is_configured(start):
    """Prefixes, and which there are."""
    chosen = {"octopus": {"prefix": ""}, "guide": {"enabled": False}}
    site = await start(**options(worker_wait=SOON, dialects=chosen))
    path, body = ASK["octopus"]
    async with httpx.AsyncClient(base_url=site.url, trust_env=False) as http:
        answer = await http.post(path.removeprefix("/octopus"), json=body)
        assert answer.status_code == 503
        assert (await http.post(path, json=body)).status_code == 404
        assert (await http.post(ASK["guide"][0], json=body)).status_code == 404


@pytest.mark.parametrize(
    ("name", "chosen", "where"),
    [
        ("slack", DialectOptions(), "slack"),
        ("octopus", DialectOptions(prefix="/strakly"), "strakly.prefix"),
        ("octopus", DialectOptions(prefix="octopus"), "octopus.prefix"),
    ],
)
def test_a_configuration_that_cannot_be(name, chosen, where):
    """The setting is named."""
    with pytest.raises(ConfigError) as error:
        ChatPlugin(PREFIX.rstrip("."), ChatOptions(dialects={name: chosen}))
    assert error.value.where == f"namespaces.agent.chat.options.dialects.{where}"
