"""The AsyncAPI document: valid, complete, and its examples are what the broker takes and says."""

import json
import logging
from pathlib import Path

import pytest
import structlog
from jsonschema import Draft7Validator
from msgspec import Raw

from broker import config
from broker.asyncapi import EXAMPLES, document
from broker.bodies import BodyType
from broker.cli import main
from broker.codec import JSON, MSGPACK
from broker.loading import load_plugins
from broker.messages import BROKER_OPS, CLIENT_OPS
from plugins.agent.messages import CHAT

SCHEMA = json.loads((Path(__file__).parent / "schemas/asyncapi-3.0.0.json").read_text("utf-8"))
SHIPPED = Path(__file__).parents[2] / "config.toml"


@pytest.fixture(scope="module")
def plugins():
    return load_plugins(config.load(SHIPPED, {}))


@pytest.fixture(scope="module")
def told(plugins):
    return document(config.load(SHIPPED, {}), plugins)


def checker(told, ref):
    """What checks a payload against one of the document's own schemas."""
    return Draft7Validator({**ref, "components": told["components"]})


def test_it_is_valid(told):
    assert [error.message for error in Draft7Validator(SCHEMA).iter_errors(told)] == []


def test_every_reference_is_to_something(told):
    for ref in refs(told):
        place = told
        for word in ref.removeprefix("#/").split("/"):
            place = place[word]


def refs(part):
    if isinstance(part, dict):
        yield from [part["$ref"]] if isinstance(part.get("$ref"), str) else []
        part = part.values()
    if not isinstance(part, str) and hasattr(part, "__iter__"):
        for inner in part:
            yield from refs(inner)


def test_nothing_is_left_out(told):
    """Every message of the protocol, every topic of the agents."""
    assert set(told["channels"]["connection"]["messages"]) == {*CLIENT_OPS, *BROKER_OPS}
    assert set(CHAT) | {"agent.status", "workflow.topic"} <= set(told["channels"])


def test_examples_fit_their_schemas(told):
    examples = [
        (message["payload"], example["payload"])
        for channel in told["channels"].values()
        for message in channel["messages"].values()
        for example in message["examples"]
    ]
    assert len(examples) > 30
    for schema, payload in examples:
        checker(told, schema).validate(payload)


def test_schemas_refuse_what_does_not_fit(told):
    for channel, wrong in (("agent.chat.token", {"sessionId": "s"}), ("agent.status", {})):
        payload = told["channels"][channel]["messages"]["body"]["payload"]
        assert not checker(told, payload).is_valid(wrong)


def test_examples_are_what_the_broker_takes(told, plugins):
    """Bodies fit their types with no field that these do not know; operations are decoded."""
    for plugin in plugins.values():
        for topic, body in plugin.topics().items():
            known = BodyType(topic, plugin.body_type(topic))
            _, extended = known.decode(Raw(JSON.encode_any(body)), JSON)
            assert not extended
    for codec in (JSON, MSGPACK):
        for example in EXAMPLES:
            if example.__struct_config__.tag in CLIENT_OPS:
                data = codec.encode_any(json.loads(JSON.encode_any(example)))
                assert [type(message) for message in codec.decode_client(data)] == [type(example)]


@pytest.fixture
def logging_as_before():
    """A command logs to the standard error that it has, which a test's end closes."""
    handlers = logging.getLogger().handlers[:]
    yield
    logging.getLogger().handlers[:] = handlers
    structlog.reset_defaults()


def test_it_is_printed(capsys, logging_as_before):
    assert main(["asyncapi", "--config", str(SHIPPED)]) == 0
    assert json.loads(capsys.readouterr().out)["asyncapi"] == "3.0.0"
