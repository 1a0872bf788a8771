"""The OpenAPI document: valid, complete, and its examples are what the broker takes."""

import json

import httpx
import pytest
from conformance.agent import CHAT
from conformance.chat import working
from jsonschema import Draft202012Validator, ValidationError
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


def fits(told, media, text):
    """Each event of a stream's text is one of those that are described, by its name and data."""
    described = checker(told, media["x-itemSchema"])
    events = [block for block in text.split("\n\n") if "data: " in block]
    for block in events:
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        described.validate(fields)
        [kind] = [
            each["properties"]
            for each in media["x-itemSchema"]["anyOf"]
            if checker(told, each).is_valid(fields) and fits_data(told, each, fields["data"])
        ]
        assert kind.get("event", False) is not False or "event" not in fields
    return len(events)


def fits_data(told, kind, data):
    data_schema = kind["properties"]["data"]
    if "contentSchema" not in data_schema:
        return data == data_schema["const"]
    if data == "[DONE]":
        return False
    return checker(told, data_schema["contentSchema"]).is_valid(json.loads(data))


@pytest.mark.parametrize("name", DIALECTS)
async def test_events_are_as_described(told, name):
    """Each event of a recorded turn fits one of its dialect's, and no other."""
    made = encoder(name)
    data = made.accepted() + b"".join(made.event(e) for e in recorded([("Some text", 2)]))
    path = f"/{name}{DIALECTS[name].paths[0]}"
    content = told["paths"][path]["post"]["responses"]["200"]["content"]["text/event-stream"]
    assert fits(told, content, data.decode()) >= 5
    with pytest.raises(ValidationError):
        fits(told, content, "event: other\ndata: {}\n\n")


async def test_answers_are_as_described(told):
    """Each answer has an example, and fits its own schema."""
    for path, methods in told["paths"].items():
        [(method, operation)] = methods.items()
        for kind, media in operation["responses"]["200"]["content"].items():
            if kind == "text/event-stream":
                assert fits(told, media, media["example"]) >= 2, path
            elif "example" in media:
                checker(told, media["schema"]).validate(media["example"])
            else:
                assert method == "get", path


async def test_a_dialect_s_examples_are_one_turn(told):
    """What it says is the same in all of them."""
    for name, dialect in DIALECTS.items():
        for path in (*dialect.paths, *dialect.voice):
            content = told["paths"][f"/{name}{path}"]["post"]["responses"]["200"]["content"]
            stream = content["text/event-stream"]["example"]
            assert "There are" in stream
            assert ("transcription" in stream) == (path in dialect.voice)
            assert ("application/json" in content) == (dialect.document is not None)
            if dialect.document is not None:
                assert "There are three." in content["application/json"]["example"].values()


async def test_other_methods_are_as_described(told, site):
    """405: with the methods that there are, and why."""
    async with httpx.AsyncClient(base_url=site.url, trust_env=False) as http:
        for path, methods in told["paths"].items():
            [operation] = methods.values()
            answer = await http.put(path)
            assert answer.status_code == 405
            described = operation["responses"]["405"]
            allowed = described["headers"]["Allow"]["schema"]["const"]
            assert answer.headers["allow"] == allowed
            schema = described["content"]["application/json"]["schema"]
            checker(told, schema).validate(answer.json())


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


async def test_every_refusal_that_may_come_is_described(told, site):
    """Also those that take a while to come about."""
    for path, methods in told["paths"].items():
        if "post" in methods:
            assert {"404", "429", "500"} <= methods["post"]["responses"].keys(), path
    refused = {"topic": CHAT + "userMessage", "body": {"sessionId": "s", "text": "Hi"}}
    async with (
        working(site),
        httpx.AsyncClient(base_url=site.url, trust_env=False) as http,
    ):
        asked = [{**refused, "body": {**refused["body"], "messageId": str(i)}} for i in range(101)]
        assert (await http.post("/publish", json=asked[:100])).status_code == 200
        answer = await http.post("/publish", json=asked[100])
    assert answer.status_code == 429
    described = told["paths"]["/publish"]["post"]["responses"]["429"]["content"]
    checker(told, described["application/json"]["schema"]).validate(answer.json())
