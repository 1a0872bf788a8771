"""What chat over HTTP takes and gives, for documents."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from broker.gateway import EVENT_STREAM, Endpoint
from plugins.agent import examples
from plugins.agent.dialects.asking import Ask, Incoming
from plugins.agent.dialects.base import Dialect
from plugins.agent.dialects.encoder import Encoder, Event
from plugins.agent.messages import CHAT, PREFIX
from plugins.agent.recordings import PATH as AUDIO

STREAM = EVENT_STREAM["content-type"]
JSON = "application/json"
REFUSALS = (400, 401, 403, 404, 406, 408, 413, 415, 422, 429, 500, 502, 503, 504)

BEGAN = 1_700_000_000_000
"""When the turn of the examples began, in Unix ms."""

TURN = (
    "turnStarted", "thinking", "toolCallStarted", "progress", "toolCallCompleted", "token",
    "action", "suggestions", "messageSaved", "turnCompleted",
)  # fmt: skip
"""What it consists of."""


class Why(Struct, omit_defaults=True, forbid_unknown_fields=True):
    code: str
    message: str
    retryable: bool
    field: str | UnsetType = UNSET


class Problem(Struct, forbid_unknown_fields=True):
    """Why there is no answer. `field` is what is wrong, by the front end's own name."""

    error: Why


def endpoints(dialects: Iterable[tuple[Dialect, str]]) -> Iterable[Endpoint]:
    """Those of `dialects`, each with its prefix, and where recordings are."""
    for dialect, prefix in dialects:
        gives: dict[str, Any] = {STREAM: dialect.tells}
        if dialect.document is not None:
            gives[JSON] = dialect.document
        for path in dialect.paths:
            yield Endpoint(
                "post", prefix + path, f"Ask, as {dialect.title} does", gives,
                {JSON: dialect.asks}, dialect.query, dialect.example, REFUSALS, Problem,
                answers=_answers(dialect, aloud=False),
            )  # fmt: skip
        for path in dialect.voice:
            yield Endpoint(
                "post", prefix + path, f"Ask aloud, as {dialect.title} does", gives,
                {"multipart/form-data": dialect.aloud}, dialect.query, None, (*REFUSALS, 501),
                Problem, answers=_answers(dialect, aloud=True),
            )  # fmt: skip
    yield Endpoint(
        "get",
        AUDIO,
        "Fetch what a user said, once",
        {"audio/*": str},
        refusals=(404,),
        refusal=Problem,
    )


def _answers(dialect: Dialect, *, aloud: bool) -> Mapping[str, Any]:
    """The turn of the examples, as it would be told to who posts the dialect's example."""
    answers: dict[str, Any] = {STREAM: _told(dialect, aloud, STREAM)[1].decode()}
    if dialect.document is not None:
        _, body = _told(dialect, aloud, JSON)[0].answer()
        answers[JSON] = msgspec.json.decode(body)
    return answers


def _told(dialect: Dialect, aloud: bool, kind: str) -> tuple[Encoder, bytes]:
    body = {**dialect.example, "stream": kind == STREAM}
    incoming = Incoming({"sessionId": "session-1"}, {}, {"accept": kind}, body)
    ask: Ask = dialect.hear(incoming) if aloud else dialect.ask(incoming)
    encoder = dialect.encoder(ask)
    told = encoder.accepted()
    for name in ("transcription", *TURN) if aloud else TURN:
        body_type = CHAT[PREFIX + name]
        event = msgspec.convert(examples.CHAT[PREFIX + name], body_type)
        told += encoder.event(Event(PREFIX + name, event, BEGAN))
    return encoder, told if encoder.ended else told + encoder.closed()
