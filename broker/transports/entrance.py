"""Lets HTTP requests in: the same rules as for WebSockets, and the same principals."""

from collections.abc import Sequence

import structlog
from starlette.requests import Request

from broker.errors import Closed
from broker.gateway import Refused
from broker.namespace import Namespace
from broker.transports.answers import refused_as
from broker.transports.caller import Caller
from broker.transports.origins import page_allowed
from broker.transports.port import Port
from broker.transports.streaming import connection_of

log = structlog.get_logger(__name__)


class Entrance:
    """The way in for requests.

    Attributes:
        most_bytes: how large a request's body may be.
    """

    def __init__(self, port: Port) -> None:
        self.most_bytes = port.config.limits.max_message_bytes
        self._port = port

    def admit(
        self, request: Request, server: str | None = None, client: str | None = None
    ) -> Caller:
        """A request as a connection to a server; None: to all of them.

        Raises:
            Refused: 401, 403, 404, 422, 503.
        """
        if self._port.stopping:
            raise Refused("shutting_down", "the broker is shutting down")
        if not page_allowed(request.headers, self._port.config.auth):
            raise Refused("forbidden", "this page's origin may not connect")
        try:
            return Caller(self._port, connection_of(request), server, client)
        except Closed as error:
            self._port.refused[error.code] += 1
            log.info("request refused", path=request.url.path, code=error.code, why=error.reason)
            raise refused_as(error) from None

    def admit_named(self, request: Request) -> Caller:
        """A request whose path may name the server, and whose query the client.

        Raises:
            Refused: as `admit` does.
        """
        server = request.path_params.get("server")
        return self.admit(request, server, request.query_params.get("client"))

    def namespaces(self, server: str | None, pattern: str) -> Sequence[Namespace]:
        """Those that a subscription to `pattern` is about.

        Raises:
            Rejected: ``bad_pattern``, ``unknown_topic``, ``namespace_not_here``.
        """
        return self._port.router.reach(server).subscribe(pattern)
