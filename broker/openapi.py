"""The HTTP endpoints as an OpenAPI 3.1 document, from the types that they take and give."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from broker import __version__
from broker.codec import JSON as CODEC
from broker.config import Config
from broker.framing import frame
from broker.gateway import EVENT_STREAM, Endpoint, Named
from broker.messages import Ack, Dropped, Error, EventMessage, Goodbye, Replayed, Subscribed
from broker.plugin import Plugin
from broker.schemas import Document, schemas
from broker.transports.events import Query
from broker.transports.publishing import LINES, Envelope, Publisher
from broker.transports.sse import RETRY

STREAM = EVENT_STREAM["content-type"]
JSON = "application/json"

_REFUSALS = (401, 403, 404, 406, 422)
_PUBLISHED = {
    "topic": "workflow.build.done",
    "key": "run-7",
    "body": {"ok": True},
    "dedupe": "run-7-done",
}
_TOLD = (
    EventMessage, Named("subscribed", Subscribed), Named("replayed", Replayed),
    Named("dropped", Dropped), Named("error", Error), Named("goodbye", Goodbye),
)  # fmt: skip
_ANSWER = {JSON: Ack | list[Ack | Error], LINES[0]: str}
_TAKEN = {JSON: Envelope | list[Envelope], LINES[0]: str}
_ACK = CODEC.encode(Ack(1)).decode()
_ANSWERED = {JSON: msgspec.json.decode(_ACK), LINES[0]: _ACK + "\n"}
_SUBSCRIBED = CODEC.encode(Subscribed(1, "k3Jq.16")).decode()
_EVENT = CODEC.encode(
    EventMessage("workflow.build.done", 1_700_000_000_000, Raw(b'{"ok":true}'), "run-7", "k3Jq.17")
).decode()
_STREAMED = {
    STREAM: RETRY.decode()
    + frame(_SUBSCRIBED.encode(), "subscribed", "k3Jq.16").decode()
    + frame(_EVENT.encode(), "", "k3Jq.17").decode()
}

OWN = (
    Endpoint("get", "/healthz", "Whether the process turns its loop", {JSON: dict[str, str]}),
    Endpoint(
        "get", "/readyz", "Whether it should get new connections", {JSON: dict[str, str]},
        refusals=(503,),
    ),
    Endpoint("get", "/metrics", "Figures for Prometheus", {"text/plain": str}),
    *(
        endpoint
        for server, words in (("", ""), ("/{server}", ", of one server"))
        for endpoint in (
            Endpoint(
                "post", f"/publish{server}", f"Publish one message, several, or lines{words}",
                _ANSWER, _TAKEN, Publisher, _PUBLISHED,
                refusals=(400, *_REFUSALS, 408, 409, 413, 415, 503), answers=_ANSWERED,
            ),
            Endpoint(
                "get", f"/events{server}", f"Subscribe, as server-sent events{words}",
                {STREAM: _TOLD}, query=Query, refusals=(*_REFUSALS, 503),
                headers=("Last-Event-ID",), answers=_STREAMED,
            ),
        )
    ),
)  # fmt: skip
"""The broker's own endpoints."""


def document(settings: Config, plugins: Mapping[str, Plugin[Any]]) -> Document:
    """The broker of `settings`, as plain data for JSON.

    Args:
        plugins: that of each namespace.
    """
    endpoints = [*OWN, *(each for plugin in plugins.values() for each in plugin.endpoints())]
    schema, components = _schemas(endpoints)
    paths: dict[str, Document] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method] = _operation(endpoint, schema)
    listen = settings.listen
    scheme = "https" if listen.tls_certificate else "http"
    return {
        "openapi": "3.1.0",
        "info": {"title": "edgestream", "version": __version__},
        "servers": [{"url": f"{scheme}://{listen.host}:{listen.port}"}],
        "paths": paths,
        "components": {"schemas": components},
    }


def _schemas(endpoints: Iterable[Endpoint]) -> tuple[dict[Any, Document], dict[str, Document]]:
    """The schema of each type that is taken or given, and the named ones."""
    kinds: list[Any] = [Error]
    for endpoint in endpoints:
        refusal = endpoint.refusal or Error
        kinds += (*endpoint.takes.values(), refusal)
        for kind in endpoint.gives.values():
            kinds += _data(kind) if type(kind) is tuple else (kind,)
    return schemas(kinds)


def _data(events: Iterable[Any]) -> Iterable[Any]:
    """The types of a stream's data."""
    for kind in events:
        if not isinstance(kind, str):
            yield kind.data if isinstance(kind, Named) else kind


def _operation(endpoint: Endpoint, schema: Mapping[Any, Document]) -> Document:
    gives = {media: _content(kind, schema) for media, kind in endpoint.gives.items()}
    for media, answer in endpoint.answers.items():
        gives[media]["example"] = answer
    told: Document = {
        "summary": endpoint.summary,
        "responses": {
            "200": {
                "description": "It is done, or goes on as it streams.",
                "content": gives,
            },
            "405": {
                "description": "The path takes another method.",
                "headers": {"Allow": {"schema": {"const": _allowed(endpoint.method)}}},
                "content": {JSON: {"schema": schema[endpoint.refusal or Error]}},
            },
            **{
                str(status): {
                    "description": "It is refused, and says why.",
                    "content": {JSON: {"schema": schema[endpoint.refusal or Error]}},
                }
                for status in endpoint.refusals
            },
        },
    }
    parameters = [
        *_in_path(endpoint.path),
        *_in_query(endpoint.query),
        *(
            {"name": name, "in": "header", "schema": {"type": "string"}}
            for name in endpoint.headers
        ),
    ]
    if parameters:
        told["parameters"] = parameters
    if endpoint.takes:
        content = {media: _content(kind, schema) for media, kind in endpoint.takes.items()}
        if endpoint.example is not None:
            next(iter(content.values()))["example"] = endpoint.example
        told["requestBody"] = {"required": True, "content": content}
    return told


def _allowed(method: str) -> str:
    """What `Allow` says of a path that takes it."""
    return "GET, HEAD" if method == "get" else method.upper()


def _content(kind: Any, schema: Mapping[Any, Document]) -> Document:
    if type(kind) is tuple:  # what OpenAPI 3.2 calls `itemSchema`
        items: Sequence[Document] = [_event(each, schema) for each in kind]
        return {"schema": {"type": "string"}, "x-itemSchema": {"type": "object", "anyOf": items}}
    return {"schema": schema[kind]}


def _event(kind: Any, schema: Mapping[Any, Document]) -> Document:
    """One kind of events of a stream: its fields, as OpenAPI 3.2 has them."""
    if isinstance(kind, str):
        return {"required": ["data"], "properties": {"event": False, "data": {"const": kind}}}
    name, data = kind if isinstance(kind, Named) else ("", kind)
    told = {"contentMediaType": JSON, "contentSchema": schema[data]}
    fields: Document = {"event": {"const": name} if name else False, "data": told}
    return {"required": ["event", "data"] if name else ["data"], "properties": fields}


def _in_path(path: str) -> Iterable[Document]:
    for name in re.findall(r"{(\w+)}", path):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _in_query(query: type[Struct] | None) -> Iterable[Document]:
    if query is None:
        return
    [_], components = msgspec.json.schema_components([query])
    described = components[query.__name__]
    for name, schema in described["properties"].items():
        required = name in described.get("required", ())
        yield {"name": name, "in": "query", "required": required, "schema": schema}
