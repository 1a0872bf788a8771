"""`GET /events`: subscriptions, answered with server-sent events."""

from collections.abc import Sequence
from itertools import product
from typing import Annotated, Literal

import msgspec
import structlog
from msgspec import UNSET, Meta, Struct, UnsetType
from starlette.requests import Request
from starlette.responses import Response

from broker.choices import explained
from broker.errors import Rejected
from broker.gateway import EVENT_STREAM, Refused
from broker.messages import Subscribe
from broker.session import MIN_CLIENT
from broker.transports.answers import unfit
from broker.transports.caller import Caller
from broker.transports.entrance import Entrance
from broker.transports.requests import check_accept, field_of
from broker.transports.sse import EventStream, Place, Places
from broker.transports.streaming import Streamed

log = structlog.get_logger(__name__)

MOST = 32
"""How many subscriptions one request may have: topics × keys. Its `id` is made of all their
cursors."""

Wanted = tuple[str, str | None]
"""A topic or pattern, and a key."""


class Wishes(Struct):
    """How events are wished for, as `op: subscribe` has it."""

    replay: Literal["none", "snapshot", "history"] = "none"
    after: str = ""
    coalesce: Literal["auto", "never"] = "auto"
    rollupMs: Annotated[int, Meta(ge=0, le=10_000)] | UnsetType = UNSET


class Query(Wishes, kw_only=True):
    """All parameters. Each topic is subscribed to with each key; without one, with all keys.
    `client` says whose stream it is."""

    topic: list[str]
    key: list[str] = []
    client: Annotated[str, Meta(min_length=MIN_CLIENT)] | UnsetType = UNSET


class Events:
    """The endpoint.

    Args:
        entrance: lets requests in.
    """

    def __init__(self, entrance: Entrance) -> None:
        self._entrance = entrance

    async def get(self, request: Request) -> Response:
        """Stream what is asked for; or refuse all of it."""
        check_accept(request, ("text/event-stream",))
        wishes = _wishes(request)
        wanted = _wanted(request)
        server = request.path_params.get("server")
        caller = self._entrance.admit_named(request)
        try:
            return self._stream(caller, server, wishes, wanted)
        except Rejected as error:
            caller.leave()
            field = (error.detail or {}).get("field", "")
            raise Refused(error.code, error.message, field) from None
        except BaseException:
            caller.leave()
            raise

    def _stream(
        self, caller: Caller, server: str | None, wishes: Wishes, wanted: Sequence[Wanted]
    ) -> Response:
        places = self._places(server, wishes, wanted)
        for index, (topic, key) in enumerate(wanted):
            after = places[index].cursor if places else wishes.after
            refusal = caller.subscribe(
                Subscribe(
                    id=0,
                    topic=topic,
                    key=UNSET if key is None else key,
                    replay=wishes.replay,
                    after=after or UNSET,
                    coalesce=wishes.coalesce,
                    rollupMs=wishes.rollupMs,
                )
            )
            if refusal is not None:
                detail = None if refusal.detail is UNSET else refusal.detail
                raise Rejected(refusal.code, refusal.message, detail)
        render = EventStream(Places(places) if places else None)
        log.info("stream opened", connection=caller.name, server=server, count=len(wanted))

        def begin() -> None:
            caller.render(render)
            caller.stream()

        return Streamed(EVENT_STREAM, begin, caller.done, caller.leave)

    def _places(
        self, server: str | None, wishes: Wishes, wanted: Sequence[Wanted]
    ) -> list[Place] | None:
        """The places of subscriptions that can all be resumed: each to one stream."""
        places = []
        for topic, key in wanted:
            if key is None or len(self._entrance.namespaces(server, topic)) > 1:
                return None
            places.append(Place(topic, key))
        if wishes.after:
            Places(places).resume(wishes.after)
        return places


def _wishes(request: Request) -> Wishes:
    query = request.query_params
    known = {field: query[field] for field in Wishes.__struct_fields__ if field in query}
    if "group" in query:
        raise unfit("group", "work queues need a WebSocket")
    last = request.headers.get("last-event-id")
    if last:
        known["after"] = last
    try:
        return msgspec.convert(known, Wishes, strict=False)
    except msgspec.ValidationError as error:
        why = explained(error, Wishes).partition(" - at")[0]
        raise unfit(field_of(error), why) from None


def _wanted(request: Request) -> Sequence[Wanted]:
    query = request.query_params
    topics, keys = dict.fromkeys(query.getlist("topic")), dict.fromkeys(query.getlist("key"))
    if not topics:
        raise unfit("topic", "is missing")
    wanted = list(product(topics, keys or [None]))
    if len(wanted) > MOST:
        raise unfit("topic", f"a request has at most {MOST} subscriptions: topics × keys")
    return wanted
