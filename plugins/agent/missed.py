"""What is not there, told as any other error of a dialect."""

from collections.abc import Iterable, Mapping

from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from plugins.agent.dialects.encoder import problem


class _Missed:
    """Answers a request of whatever method."""

    def __init__(self, status: int, code: str, why: str, headers: Mapping[str, str]) -> None:
        self._status = status
        self._body = problem(code, why, retryable=False)
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = Response(self._body, self._status, self._headers, "application/json")
        await answer(scope, receive, send)


def missed(paths: Mapping[str, str], prefixes: Iterable[str]) -> Iterable[BaseRoute]:
    """To stand behind all others: 405 at `paths`, by which methods they take, and 404 below
    `prefixes`."""
    for path, methods in paths.items():
        why = f"this path takes {methods}"
        yield Route(path, _Missed(405, "method_not_allowed", why, {"Allow": methods}))
    nothing = _Missed(404, "not_found", "there is nothing at this path", {})
    for prefix in filter(None, prefixes):
        yield Route(prefix + "/{path:path}", nothing)
