"""What chat over HTTP takes and gives, for documents."""

from collections.abc import Iterable
from typing import Any

from msgspec import UNSET, Struct, UnsetType

from broker.gateway import EVENT_STREAM, Endpoint
from plugins.agent.dialects.base import Dialect
from plugins.agent.recordings import PATH as AUDIO

STREAM = EVENT_STREAM["content-type"]
JSON = "application/json"
REFUSALS = (400, 401, 403, 406, 408, 413, 415, 422, 429, 502, 503, 504)


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
            )  # fmt: skip
        for path in dialect.voice:
            yield Endpoint(
                "post", prefix + path, f"Ask aloud, as {dialect.title} does", gives,
                {"multipart/form-data": dialect.aloud}, dialect.query, None, (*REFUSALS, 501),
                Problem,
            )  # fmt: skip
    yield Endpoint(
        "get", AUDIO, "Fetch what a user said", {"audio/*": str}, refusals=(404,), refusal=Problem
    )
