"""Which web pages may speak to the broker: over WebSocket, and over HTTP (CORS)."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from broker.auth import is_loopback
from broker.config import Auth

EXPOSED = "Allow"
"""Which headers of a response pages may read, beside those that they always may."""

ASKED = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
"""What the answer to a preflight depends on."""

REMEMBERED = 600
"""How long a browser may remember what it may send, in seconds."""


def origin_allowed(
    given: Sequence[str], hosts: Sequence[str], origins: Sequence[str], *, proxied: bool
) -> bool:
    """Whether the page that opens this connection may.

    A browser names the page's origin, and any page on the web could try to reach a
    broker on its reader's own machine. Allowed are no origin (not a browser), pages of
    this machine, and those that the configuration lists; where others than this machine
    are let in (`proxied`), also the host that the request names. On this machine a name
    proves nothing: any name can be made to point here.

    Args:
        given: the request's `Origin` headers.
        hosts: its `Host` headers.
        origins: those that are listed.
    """
    if not given or "*" in origins:
        return True
    try:
        origin = urlsplit(given[0])
        host = origin.hostname or ""
    except ValueError:
        return False
    if len(given) > 1:
        return False
    own = proxied and origin.netloc in hosts
    return own or given[0] in origins or is_loopback(host)


def page_allowed(headers: Headers, settings: Auth) -> bool:
    """Whether the page that sent a request may: see `origin_allowed`."""
    return origin_allowed(
        headers.getlist("origin"),
        headers.getlist("host"),
        settings.origins,
        proxied=settings.anonymous == "everyone",
    )


class Cors:
    """Tells browsers which pages may read what HTTP answers: those that may connect.

    It only adds headers, and answers preflights; who is refused, the `Entrance` says.
    """

    def __init__(self, app: ASGIApp, settings: Auth) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        origin = headers.get("origin")
        if origin is None:
            await self._app(scope, receive, send)
            return
        granted = self._grant(origin) if page_allowed(headers, self._settings) else {}
        if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            await _answer_preflight(headers, granted, send)
            return

        async def send_granted(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                answer.update(granted)
                if granted:
                    answer["access-control-expose-headers"] = EXPOSED
                answer.add_vary_header("Origin")
            await send(message)

        await self._app(scope, receive, send_granted)

    def _grant(self, origin: str) -> dict[str, str]:
        grant = {"access-control-allow-origin": origin}
        if "*" not in self._settings.origins:
            grant["access-control-allow-credentials"] = "true"
        return grant


async def _answer_preflight(asked: Headers, granted: dict[str, str], send: Send) -> None:
    headers = {"vary": ASKED, "content-length": "0"} | granted
    if granted:
        headers["access-control-allow-methods"] = "GET, POST"
        headers["access-control-max-age"] = str(REMEMBERED)
        wanted = asked.get("access-control-request-headers")
        if wanted is not None:
            headers["access-control-allow-headers"] = wanted
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    status = 204 if granted else 403
    if status == 204:
        raw = [(name, value) for name, value in raw if name != b"content-length"]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": b""})
