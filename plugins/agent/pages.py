"""The pages: the chat over WebSocket, and one for each dialect that is served."""

from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from plugins.agent.dialects.base import Dialect

WEB = Path(__file__).parent / "web"

HERE = "<!-- one for each dialect -->"
"""Where index.html has the links to the dialects' pages."""

HEADERS = {
    "Cache-Control": "no-cache",  # a page and its modules are of one version
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


def routes(dialects: Iterable[tuple[Dialect, str]]) -> Iterable[BaseRoute]:
    """The pages and their files; of `dialects`, each with its prefix, those that are served."""
    links = "\n        ".join(_link(dialect, prefix) for dialect, prefix in dialects)
    page = (WEB / "index.html").read_text("utf-8").replace(HERE, links)

    async def index(request: Request) -> Response:
        return HTMLResponse(page, headers=HEADERS)

    yield Route("/", index)
    yield Mount("/static", _Static(directory=WEB))


class _Static(StaticFiles):
    """The page's files, with the page's headers."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers.update(HEADERS)
        return response


def _link(dialect: Dialect, prefix: str) -> str:
    base = escape(f".{prefix}")  # relative, as the page is: both may be behind a proxy's path
    return f'<a href="?dialect={dialect.name}" data-base="{base}">{escape(dialect.title)}</a>'
