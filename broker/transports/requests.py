"""What HTTP requests bring: their bodies, within limits, and what they accept."""

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.requests import Request

from broker.accept import preferred
from broker.bodies import path_of
from broker.codec import JSON
from broker.gateway import Refused

WHOLE = "$"
"""Names the body itself, where no field of it is wrong."""

BODY_SECONDS = 60.0
"""How long a request's body may take."""


async def read(request: Request, limit: int) -> bytes:
    """A request's body.

    Raises:
        Refused: 408, it takes too long; 413, it has more than `limit` bytes.
        ClientDisconnect: it has not come to its end.
    """
    check_length(request, limit)
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > limit:
                    raise _too_large(limit)
    except TimeoutError:
        why = f"the body took longer than {BODY_SECONDS:g} s"
        raise Refused("bad_message", why, status=HTTPStatus.REQUEST_TIMEOUT) from None
    return bytes(body)


async def read_object(request: Request, limit: int) -> dict[str, Any]:
    """A request's body, which is one JSON object.

    Raises:
        Refused: 400, 408, 413, 415, 422.
    """
    check_type(request, ("application/json",))
    value = decode(await read(request, limit), JSON.decode_any)
    if not isinstance(value, dict):
        raise Refused("bad_message", "the body is to be a JSON object", WHOLE)
    return value


def decode(data: bytes, decoder: Any) -> Any:
    """A whole JSON document.

    Raises:
        Refused: 400, it is none.
    """
    try:
        data.decode()  # raw and skipped parts are not looked at otherwise
        return decoder(data)
    except UnicodeDecodeError:
        why = "the body is not UTF-8"
    except RecursionError:
        why = "the body is nested too deeply"
    except msgspec.DecodeError as error:
        why = f"the body is not one JSON document: {error}"
    raise Refused("bad_message", why, status=HTTPStatus.BAD_REQUEST)


def check_type(request: Request, known: Sequence[str]) -> str:
    """The media type of a request's body; the first `known` where it does not say.

    Raises:
        Refused: 415, it is none of those that are known, or the body is encoded besides.
    """
    for encoding in request.headers.getlist("content-encoding"):
        if encoding.strip().lower() not in ("", "identity"):
            why = f"content-encoding: only identity is read here, and not {encoding}"
            raise Refused("unsupported_type", why)
    given = request.headers.getlist("content-type")
    if not given:
        return known[0]
    kind = given[0].partition(";")[0].strip().lower()
    if kind not in known or len(given) > 1:
        raise Refused("unsupported_type", f"content-type: one of {', '.join(known)}")
    return kind


def check_length(request: Request, limit: int, field: str = "") -> None:
    """Find out whether a request's body is said to have more than `limit` bytes.

    Raises:
        Refused: 413, it is; because of `field`.
    """
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length[:20]) > limit:
        raise _too_large(limit, field)


def check_accept(request: Request, offered: Sequence[str]) -> None:
    """Find out whether one of the `offered` types suits the request.

    Raises:
        Refused: 406, none does.
    """
    if preferred(",".join(request.headers.getlist("accept")), offered) is None:
        raise Refused("not_acceptable", f"accept: there is {', '.join(offered)}")


def field_of(error: msgspec.ValidationError) -> str:
    """The field that a msgspec error is about; "$" is all of it."""
    return path_of(error).removeprefix(WHOLE).removeprefix(".") or WHOLE


def _too_large(limit: int, field: str = "") -> Refused:
    return Refused("too_large", f"a request's body has at most {limit} bytes", field)
