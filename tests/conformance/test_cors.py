"""Pages of other origins: what a browser asks before it lets one post, and what it may read."""

import httpx
import pytest

from plugins.agent.dialects import DIALECTS

from .chat import ASK, asking, working

PAGE = "https://chat.example"
PATHS = {
    "/publish": "POST",
    "/publish/chat": "POST",
    "/events": "GET",
    "/openapi.json": "GET",
    **{
        f"/{name}{path.format(sessionId='s')}": "POST"
        for name, dialect in DIALECTS.items()
        for path in (*dialect.paths, *dialect.voice)
    },
}
CUSTOM = "authorization, content-type, x-request-id, last-event-id"


@pytest.fixture
async def listed(start):
    """A broker that lets in pages of one origin more."""
    return await start(auth={"origins": [PAGE]})


@pytest.fixture
async def http(listed):
    async with httpx.AsyncClient(base_url=listed.url, trust_env=False) as client:
        yield client


@pytest.mark.parametrize(("path", "method"), PATHS.items())
async def test_a_page_may_ask_with_any_headers(http, path, method):
    """Those of its own too, such as Authorization; the answer is for this origin alone."""
    asked = {
        "Origin": PAGE,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": CUSTOM,
    }
    granted = await http.options(path, headers=asked)
    assert granted.status_code == 204
    assert granted.content == b""
    headers = granted.headers
    assert headers["access-control-allow-origin"] == PAGE
    assert headers["access-control-allow-credentials"] == "true"
    assert headers["access-control-allow-headers"] == CUSTOM
    assert method in headers["access-control-allow-methods"].split(", ")
    assert int(headers["access-control-max-age"]) > 0
    varies = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
    assert headers["vary"] == varies
    refused = await http.options(path, headers={**asked, "Origin": "https://evil.example"})
    assert refused.status_code == 403
    assert not [name for name in refused.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_page_reads_what_is_streamed_and_what_is_refused(listed, http, dialect, worker):
    """Every answer says so, and 405 which methods there are."""
    path, body = ASK[dialect]
    async with asking(listed, dialect, f"Origin: {PAGE}") as response:
        assert response.headers["access-control-allow-origin"] == PAGE
        assert response.headers["vary"] == "Origin"
        assert "access-control-expose-headers" in response.headers
        await worker.given()
    for status, sent in (
        (405, {"method": "PUT"}),
        (406, {"method": "POST", "json": body, "headers": {"Accept": "image/png"}}),
        (415, {"method": "POST", "content": b"x"}),
        (422, {"method": "POST", "json": {}}),
    ):
        headers = {**sent.pop("headers", {}), "Origin": PAGE}
        if status == 415:
            headers["Content-Type"] = "text/plain"
        answer = await http.request(url=path, headers=headers, **sent)
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert "Allow" in answer.headers["access-control-expose-headers"]


@pytest.fixture
async def worker(listed):
    async with working(listed) as agent:
        yield agent


async def test_any_origin_but_without_credentials(start):
    """`*`: what a browser knows of its user is not for every page."""
    site = await start(auth={"origins": ["*"]})
    async with httpx.AsyncClient(base_url=site.url, trust_env=False) as http:
        asked = {"Origin": "https://any.example", "Access-Control-Request-Method": "POST"}
        granted = await http.options("/publish", headers=asked)
        assert granted.headers["access-control-allow-origin"] == "https://any.example"
        assert "access-control-allow-credentials" not in granted.headers
        assert "access-control-allow-headers" not in granted.headers
