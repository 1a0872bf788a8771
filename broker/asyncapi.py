"""The broker described as an AsyncAPI 3 document, from the types that it checks messages by.

One channel is the connection, with every message of the protocol; each topic is a
channel as well, whose payload is the `body` of a `publish` and of an `event`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

from msgspec import Raw, Struct

from broker import __version__
from broker.codec import JSON
from broker.config import Config
from broker.messages import (
    Ack,
    BrokerMessage,
    ClientMessage,
    Dropped,
    Error,
    EventMessage,
    Goodbye,
    Hello,
    Limits,
    Ping,
    Pong,
    Publish,
    Refresh,
    Refreshed,
    Replayed,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
    Welcome,
)
from broker.plugin import Plugin
from broker.schemas import SCHEMAS, Document, schemas

DESCRIPTION = """\
A WebSocket publish/subscribe broker. A message is an object with `op`, or an array of them;
subprotocols `edgestream.v1.json` (the default) and `edgestream.v1.msgpack`."""

CONNECTION = "connection"

EXAMPLES: Sequence[Struct] = (
    Hello(client="a secret of 16 characters or more"),
    Publish("workflow.build.done", Raw(b'{"ok": true}'), "run-7", 2, "run-7-done"),
    Subscribe(1, "workflow.>", "run-7", after="0a1b2c3d.41"),
    Unsubscribe(3, "workflow.>", "run-7"),
    Refresh(4, "a new token"),
    Ping(5),
    Welcome(
        "Jx3kQ0aZb8Yw", ["workflow"], 15_000, Limits(1 << 20, 1000, {"workflow": 65_536}), "bas"
    ),
    EventMessage("workflow.build.done", 1_700_000_000_000, {"ok": True}, "run-7", "0a1b2c3d.42"),
    Subscribed(1, "0a1b2c3d.41", recovered=True),
    Replayed(1, "0a1b2c3d.42"),
    Unsubscribed(3),
    Refreshed(4),
    Ack(2),
    Error("unknown_topic", "agent.chat has no topic 'agent.chat.tokn'", False, 2),
    Dropped("workflow.progress", 12, "run-7"),
    Pong(5),
    Goodbye(4100, "shutting down", True),
)
"""One of each message, as it could be on the wire."""


def document(settings: Config, plugins: Mapping[str, Plugin[Any]]) -> Document:
    """The broker of `settings`, as plain data for JSON.

    Args:
        plugins: that of each namespace.
    """
    client, broker = get_args(ClientMessage), get_args(BrokerMessage)
    topics = {name: plugin.topics() for name, plugin in plugins.items()}
    bodies = {topic: plugins[name].body_type(topic) for name in topics for topic in topics[name]}
    schema, components = schemas((*client, *broker, *bodies.values()))
    for name, component in components.items():
        if any(schema[kind] == {"$ref": SCHEMAS + name} for kind in bodies.values()):
            component.pop("additionalProperties", None)  # they pass, though the type forbids them
    channels = {CONNECTION: _connection(settings, (*client, *broker), schema)}
    operations = {
        "receive": _operation("receive", CONNECTION, map(_op, client)),
        "send": _operation("send", CONNECTION, map(_op, broker)),
    }
    for name, examples in topics.items():
        for topic, example in examples.items():
            channel = topic.translate({ord("{"): None, ord("}"): None})
            channels[channel] = _topic(topic, schema[bodies[topic]], example, name)
            for action in ("receive", "send"):
                operations[f"{action}.{channel}"] = _operation(action, channel, ["body"])
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "edgestream", "version": __version__, "description": DESCRIPTION},
        "defaultContentType": "application/json",
        "servers": {"broker": _server(settings)},
        "channels": channels,
        "operations": operations,
        "components": {"schemas": components},
    }


def _server(settings: Config) -> Document:
    listen = settings.listen
    protocol = "wss" if listen.tls_certificate else "ws"
    return {"host": f"{listen.host}:{listen.port}", "protocol": protocol}


def _connection(
    settings: Config, kinds: Iterable[type[Struct]], schema: Mapping[Any, Document]
) -> Document:
    examples = {type(example): example for example in EXAMPLES}
    messages = {
        _op(kind): {
            "payload": schema[kind],
            "examples": [{"payload": JSON.decode_any(JSON.encode_any(examples[kind]))}],
        }
        for kind in kinds
    }
    return {
        "address": "/ws/{server}",
        "parameters": {"server": {"enum": [*settings.servers]}},
        "messages": messages,
    }


def _topic(topic: str, schema: Document, example: Any, namespace: str) -> Document:
    channel: Document = {
        "address": topic,
        "description": f"Namespace `{namespace}`: the `body` of a `publish`, and of an `event`.",
        "messages": {"body": {"payload": schema, "examples": [{"payload": example}]}},
    }
    if "{" in topic:
        channel["parameters"] = {"topic": {"description": "words with dots between them"}}
    return channel


def _operation(action: str, channel: str, messages: Iterable[str]) -> Document:
    where = f"#/channels/{channel}"
    return {
        "action": action,
        "channel": {"$ref": where},
        "messages": [{"$ref": f"{where}/messages/{message}"} for message in messages],
    }


def _op(kind: type[Struct]) -> str:
    op: str = kind.__struct_config__.tag  # type: ignore[assignment]  # it is one of ours
    return op
