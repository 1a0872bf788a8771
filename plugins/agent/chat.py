"""The namespace `agent.chat`: sessions, each a stream of turns."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from broker.plugin import ConfigError, Event, Plugin, Rejected
from plugins.agent import sessions, turns
from plugins.agent.merging import merge_tokens
from plugins.agent.messages import CHAT, PREFIX

WEB = Path(__file__).parent / "web"

HEADERS = {
    "Cache-Control": "no-cache",  # a page and its modules are of one version
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


class ChatPlugin(Plugin[sessions.Session]):
    """Types, order, ownership and repeats of what agents and users say."""

    errors = turns.ERRORS
    key_field = "sessionId"

    def __init__(self, namespace: str, options: Any) -> None:
        if namespace != PREFIX.rstrip("."):
            raise ConfigError(f"namespaces.{namespace}", f"this plugin's topics are {PREFIX}*")
        super().__init__(namespace, options)

    def body_type(self, topic: str) -> Any:
        try:
            return CHAT[topic]
        except KeyError:
            raise Rejected("unknown_topic", f"{self.namespace} has no topic {topic!r}") from None

    def key(self, topic: str, body: Any) -> str:
        key: str = body.sessionId
        return key

    def initial(self) -> sessions.Session:
        return sessions.Session()

    def accept(self, head: sessions.Session, event: Event) -> None:
        turns.accept(head, event)

    def validate(self, head: sessions.Session, event: Event) -> None:
        turns.validate(head, event)

    def apply(self, state: sessions.Session, event: Event) -> None:
        turns.apply(state, event)

    def at_rest(self, state: sessions.Session) -> bool:
        return not state.open_turns()

    def snapshot(self, state: sessions.Session, since: int | None = None) -> Iterable[Event]:
        return sessions.snapshot(state, since)

    def merge(self, run: Sequence[Event]) -> Sequence[Event]:
        return merge_tokens(run)

    def routes(self) -> Iterable[BaseRoute]:
        """The chat page."""
        yield Route("/", _page)
        yield Mount("/static", _Static(directory=WEB))


class _Static(StaticFiles):
    """The page's files, with the page's headers."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers.update(HEADERS)
        return response


async def _page(request: Request) -> Response:
    return FileResponse(WEB / "index.html", headers=HEADERS)
