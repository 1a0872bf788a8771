"""The gateway as plugins see it: see `broker.gateway`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import UNSET, Raw
from starlette.requests import Request
from starlette.responses import Response

from broker.codec import JSON
from broker.errors import CLOSES
from broker.gateway import Follower, Refused
from broker.messages import Error, Goodbye, Publish, Subscribe
from broker.namespace import Namespace
from broker.transports.caller import Caller
from broker.transports.entrance import Entrance
from broker.transports.requests import check_accept, check_length, check_type, read_object
from broker.transports.streaming import Streamed
from broker.transports.told import Told

GOODBYES = {4100: "shutting_down", 4108: "slow_consumer"}
"""What a follower fails with, by the code of the goodbye."""

_goodbye = JSON.decoder(Goodbye).decode


class NamespaceGateway:
    """The `Gateway` of one namespace's plugin."""

    def __init__(self, entrance: Entrance, namespace: Namespace) -> None:
        self._entrance = entrance
        self._namespace = namespace

    def admit(self, request: Request, offered: Sequence[str]) -> "NamespaceCall":
        caller = self._entrance.admit(request)
        try:
            check_accept(request, offered)
        except BaseException:
            caller.leave()
            raise
        return NamespaceCall(caller, self._namespace)

    def check_body(self, request: Request, kind: str, limit: int, field: str) -> None:
        if "content-type" not in request.headers:
            raise Refused("unsupported_type", f"content-type: {kind}")
        check_type(request, (kind,))
        check_length(request, limit, field)

    async def read_object(self, request: Request) -> dict[str, Any]:
        return await read_object(request, self._entrance.most_bytes)

    def state(self, key: str) -> Any:
        stream = self._namespace.streams.get(key)
        return None if stream is None else stream.head


class NamespaceCall:
    """A `Call`."""

    def __init__(self, caller: Caller, namespace: Namespace) -> None:
        self._caller = caller
        self._namespace = namespace
        self._following: _Following | None = None
        self.say = caller.say
        self.leave = caller.leave

    def follow(self, topic: str, key: str, follower: Follower, after: int | None = None) -> None:
        cursor = UNSET if after is None else self._namespace.retained.cursor(after)
        _check(self._caller.subscribe(Subscribe(id=0, topic=topic, key=key, after=cursor)))
        self._following = _Following(follower, self._namespace)

    async def publish(self, topic: str, body: Any) -> None:
        [refusal] = await self._caller.publish([Publish(topic, Raw(JSON.encode_any(body)))])
        _check(refusal)

    def stream(self, headers: Mapping[str, str], after: Callable[[], None]) -> Response:
        def begin() -> None:
            self._render()
            self._caller.stream()

        return Streamed(headers, begin, self._caller.done, after)

    async def finish(self) -> None:
        self._render()
        await self._caller.done

    def _render(self) -> None:
        assert self._following is not None, "follow something first"
        self._caller.render(self._following)


class _Following:
    """Lets a plugin's follower have what the broker says. See `Render`."""

    def __init__(self, follower: Follower, namespace: Namespace) -> None:
        self._follower = follower
        self._streams = namespace.streams

    @property
    def ended(self) -> bool:
        return self._follower.ended

    def begin(self) -> bytes:
        return self._follower.begin()

    def event(self, told: Told, raw: bytes | Raw) -> bytes:
        assert told.body is not UNSET, "an event has a body"
        body, _ = self._streams.body_type(told.topic).decode(told.body, JSON)
        return self._follower.event(told.topic, body, told.time)

    def message(self, told: Told, raw: bytes | Raw) -> bytes:
        if told.op == "goodbye":
            goodbye = _goodbye(raw)
            code = GOODBYES.get(goodbye.code, "internal")
            return self._follower.failed(code, goodbye.reason, CLOSES[goodbye.code].reconnect)
        return b""


def _check(refusal: Error | None) -> None:
    """Raise what a publish or a subscribe was refused with."""
    if refusal is not None:
        raise Refused(refusal.code, refusal.message, retryable=refusal.retryable)
