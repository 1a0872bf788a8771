"""What is not there, told as any other error of a dialect."""

from collections.abc import Iterable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from plugins.agent.dialects.encoder import problem

OTHERS = ("GET", "PUT", "PATCH", "DELETE")
"""The methods that no dialect takes."""


def missed(paths: Iterable[str], prefixes: Iterable[str]) -> Iterable[BaseRoute]:
    """To stand behind all others: 405 at `paths`, which take POST, and 404 below `prefixes`."""
    for path in paths:
        yield Route(path, _only_post, methods=OTHERS)
    for prefix in filter(None, prefixes):
        yield Route(prefix + "/{path:path}", _nothing, methods=["POST", *OTHERS])


async def _only_post(request: Request) -> Response:
    body = problem("method_not_allowed", "this path takes POST", retryable=False)
    return Response(body, 405, {"Allow": "POST"}, "application/json")


async def _nothing(request: Request) -> Response:
    body = problem("not_found", "there is nothing at this path", retryable=False)
    return Response(body, 404, media_type="application/json")
