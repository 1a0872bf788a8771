"""`POST /publish`: one message, an array of them, or lines (NDJSON); each is answered."""

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from broker.codec import JSON
from broker.gateway import Refused, status_of
from broker.messages import Ack, Error, Publish
from broker.session import AT_ONCE, MAX_MALFORMED, MIN_CLIENT
from broker.transports.answers import answer
from broker.transports.caller import Caller
from broker.transports.entrance import Entrance
from broker.transports.requests import check_accept, check_type, decode, field_of, read

LINES = ("application/x-ndjson", "application/ndjson")
TYPES = ("application/json", *LINES)


class Envelope(Struct):
    """One message to publish, as `op: publish` has it."""

    topic: str
    body: Raw
    key: str | UnsetType = UNSET
    dedupe: Annotated[str, Meta(min_length=1, max_length=255)] | UnsetType = UNSET


class Publisher(Struct):
    """Who publishes, over several requests: a secret as that of `hello`."""

    client: Annotated[str, Meta(min_length=MIN_CLIENT)] | UnsetType = UNSET


_envelope = JSON.decoder(Envelope).decode
_each = JSON.decoder(list[Raw]).decode
_one = JSON.decoder(Raw).decode


class Publishing:
    """The endpoint.

    Args:
        entrance: lets requests in.
    """

    def __init__(self, entrance: Entrance) -> None:
        self._entrance = entrance

    async def post(self, request: Request) -> Response:
        """Publish what the body says. One message that is refused has the status of its error;
        of several, each has its own answer."""
        check_accept(request, ("application/json", *LINES))
        kind = check_type(request, TYPES)
        caller = self._entrance.admit_named(request)
        try:
            data = await read(request, self._entrance.most_bytes)
            if kind in LINES:
                answers = await _publish(caller, _lines(data))
                lines = [JSON.encode(message) + b"\n" for message in answers]
                return Response(b"".join(lines), media_type=kind)
            if data.lstrip()[:1] == b"[":
                return answer(await _publish(caller, decode(data, _each)))
            [only] = await _publish(caller, [decode(data, _one)])
            return answer(only, status_of(only.code) if isinstance(only, Error) else 200)
        except ClientDisconnect:
            return Response(status_code=HTTPStatus.BAD_REQUEST)  # nobody is there to read it
        finally:
            caller.leave()


def _lines(data: bytes) -> list[bytes]:
    """Those that are not blank. LF alone ends one: a CR is white space of JSON."""
    return [line for line in data.split(b"\n") if line.strip(b" \t\r")]


async def _publish(caller: Caller, raws: Sequence[Raw | bytes]) -> list[Ack | Error]:
    """Publish all that have the form of a message. Ids are their places, from 1.

    Raises:
        Refused: too many have not; nothing was published.
    """
    answers: list[Ack | Error] = []
    messages: list[Publish] = []
    for id, raw in enumerate(raws, 1):
        if id % AT_ONCE == 0:
            await asyncio.sleep(0)  # others have their turn
        message = _checked(raw)
        if isinstance(message, Error):
            message.id = id
            answers.append(message)
            if len(answers) - len(messages) > MAX_MALFORMED:
                why = f"over {MAX_MALFORMED} of the messages have not the form of one"
                raise Refused("bad_message", why)
        else:
            answers.append(Ack(id))
            messages.append(message)
    sent = [place for place, message in enumerate(answers) if isinstance(message, Ack)]
    for place, error in zip(sent, await caller.publish(messages), strict=True):
        if error is not None:
            error.id = place + 1
            answers[place] = error
    return answers


def _checked(raw: Raw | bytes) -> Publish | Error:
    try:
        given = _envelope(raw)
    except msgspec.ValidationError as error:
        detail = {"field": field_of(error)}
        return Error("bad_message", f"publish: {error}", retryable=False, detail=detail)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        why = f"publish: not one JSON document: {error}"
        return Error("bad_message", why, retryable=False)
    return Publish(given.topic, given.body, given.key, dedupe=given.dedupe)
