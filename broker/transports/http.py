"""HTTP on the same port: health, metrics, the gateway, and the routes that plugins bring."""

from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from broker.config import Auth
from broker.gateway import Refused
from broker.transports.answers import on_missed, on_refused
from broker.transports.entrance import Entrance
from broker.transports.events import Events
from broker.transports.handshake import PATH
from broker.transports.origins import Cors
from broker.transports.publishing import Publishing


def application(
    ready: Callable[[], str | None],
    metrics: Callable[[], bytes],
    described: Callable[[], Mapping[str, Any]],
    entrance: Entrance,
    auth: Auth,
    plugin_routes: Iterable[BaseRoute],
) -> Starlette:
    """The HTTP side of the broker.

    Args:
        ready: why the broker should get no new connections now, or None.
        metrics: the text of `/metrics`.
        described: what `/openapi.json` says.
        entrance: lets requests of the gateway in.
        auth: which pages may read what is answered.
        plugin_routes: what the plugins add.
    """
    publishing, events = Publishing(entrance), Events(entrance)
    app = Starlette(
        routes=[
            *_told(ready, metrics, described),
            Route(PATH, _upgrade_required),
            Route(PATH + "/{server}", _upgrade_required),
            Route("/publish", publishing.post, methods=["POST"]),
            Route("/publish/{server}", publishing.post, methods=["POST"]),
            Route("/events", events.get),
            Route("/events/{server}", events.get),
            *plugin_routes,
        ],
        middleware=[Middleware(Cors, settings=auth)],
        exception_handlers={Refused: on_refused, HTTPException: on_missed},
    )
    app.router.redirect_slashes = False  # to where the request itself says that it is
    return app


def _told(
    ready: Callable[[], str | None],
    metrics: Callable[[], bytes],
    described: Callable[[], Mapping[str, Any]],
) -> Iterable[BaseRoute]:
    """What the broker tells of itself."""

    async def healthz(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(request: Request) -> Response:
        why = ready()
        if why is None:
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "not ready", "reason": why}, HTTPStatus.SERVICE_UNAVAILABLE)

    async def metrics_page(request: Request) -> Response:
        return Response(metrics(), media_type=CONTENT_TYPE_LATEST)

    async def openapi(request: Request) -> Response:
        return JSONResponse(described())

    yield Route("/healthz", healthz)
    yield Route("/readyz", readyz)
    yield Route("/metrics", metrics_page)
    yield Route("/openapi.json", openapi)


async def _upgrade_required(request: Request) -> Response:
    return PlainTextResponse(
        "This is a WebSocket endpoint.\n",
        HTTPStatus.UPGRADE_REQUIRED,
        {"Upgrade": "websocket", "Connection": "Upgrade"},
    )
