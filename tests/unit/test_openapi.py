"""The OpenAPI document: valid, complete, and its examples are what the broker takes."""

import httpx
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from plugins.agent.dialects import DIALECTS
from plugins.agent.dialects.asking import Incoming

from .front_ends import encoder, recorded


@pytest.fixture
async def told(site):
    async with httpx.AsyncClient(base_url=site.url, trust_env=False) as http:
        return (await http.get("/openapi.json")).json()


def checker(told, schema):
    return Draft202012Validator({**schema, "components": told["components"]})


async def test_it_is_valid(told):
    assert [str(error) for error in OpenAPIV31SpecValidator(told).iter_errors()] == []


async def test_nothing_is_left_out(told, site):
    """Every endpoint but for pages, and what answers with an upgrade; and each is there."""
    own = {"/healthz", "/readyz", "/metrics"}
    own |= {f"/{what}{server}" for what in ("publish", "events") for server in ("", "/{server}")}
    asked = {
        f"/{name}{path}"
        for name, dialect in DIALECTS.items()
        for path in (*dialect.paths, *dialect.voice)
    }
    assert set(told["paths"]) == own | asked | {"/voice/{name}"}
    async with httpx.AsyncClient(base_url=site.url, trust_env=False) as http:
        for path, methods in told["paths"].items():
            assert (await http.put(path)).status_code == 405
            assert len(methods) == 1


async def test_examples_fit_and_are_taken(told):
    for name, dialect in DIALECTS.items():
        for path in dialect.paths:
            body = told["paths"][f"/{name}{path}"]["post"]["requestBody"]["content"]
            media = body["application/json"]
            checker(told, media["schema"]).validate(media["example"])
            assert not checker(told, media["schema"]).is_valid({})
            incoming = Incoming({"sessionId": "s"}, {}, {}, media["example"])
            assert dialect.ask(incoming).text == media["example"]["message"]


@pytest.mark.parametrize("name", DIALECTS)
async def test_events_are_as_described(told, name):
    """Each event of a recorded turn fits one of its dialect's."""
    made = encoder(name)
    data = (
        made.accepted()
        + b"".join(made.event(event) for event in recorded([("Some text", 2)]))
        + made.closed()
    )
    path = f"/{name}{DIALECTS[name].paths[0]}"
    content = told["paths"][path]["post"]["responses"]["200"]["content"]["text/event-stream"]
    check = checker(told, content["x-itemSchema"])
    lines = [line for line in data.decode().splitlines() if line.startswith("data: ")]
    assert len(lines) >= 5
    for line in lines:
        if line != "data: [DONE]":
            check.validate(httpx.Response(200, text=line.removeprefix("data: ")).json())


async def test_refusals_are_as_described(told, site):
    """What really comes fits what the document says of its status."""
    async with httpx.AsyncClient(base_url=site.url, trust_env=False) as http:
        for path, methods in told["paths"].items():
            if "post" not in methods:
                continue
            asked = path.format(server="chat", sessionId="s")
            for request in (
                {"json": {}},
                {"content": b"{", "headers": {"content-type": "application/json"}},
                {"content": b"x", "headers": {"content-type": "text/html"}},
                {"json": {}, "headers": {"accept": "image/png"}},
                {"files": {"audio": ("a", b"")}},
            ):
                answer = await http.post(asked, **request)
                described = methods["post"]["responses"][str(answer.status_code)]
                schema = described["content"]["application/json"]["schema"]
                checker(told, schema).validate(answer.json())
        answer = await http.get("/voice/none")
        described = told["paths"]["/voice/{name}"]["get"]["responses"]["404"]
        schema = described["content"]["application/json"]["schema"]
        checker(told, schema).validate(answer.json())
