"""The upgrade request: which server, which encoding, who, and whether at all."""

from typing import NamedTuple
from urllib.parse import parse_qs

from websockets.exceptions import NegotiationError
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from broker.codec import CODECS, JSON, Codec
from broker.config import Config
from broker.transports.origins import origin_allowed

PATH = "/ws"


class Target(NamedTuple):
    """What an upgrade request asks for, or another one.

    Attributes:
        server: the named server; None for all of them.
        client: the secret by which a process is known, where the query has one.
        beside: it supersedes no other connection of its client, nor do they it.
    """

    server: str | None
    client: str | None
    beside: bool = False


def sans_io(config: Config) -> ServerProtocol:
    """The protocol of one connection that is about to shake hands."""
    return ServerProtocol(
        subprotocols=[Subprotocol(name) for name in CODECS],
        select_subprotocol=_select,
        max_size=config.limits.max_message_bytes,
    )


def _select(protocol: ServerProtocol, offered: object) -> Subprotocol | None:
    """The first offered encoding that there is; JSON (None) where none is offered."""
    names = list(offered) if isinstance(offered, (list, tuple)) else []
    for name in names:
        if name in CODECS:
            return Subprotocol(name)
    if names:
        raise NegotiationError(f"no known subprotocol; there are {', '.join(CODECS)}")
    return None


def answer(protocol: ServerProtocol, request: Request, config: Config) -> Target | None:
    """Answer an upgrade request. Returns what it asks for, if it is let in so far."""
    wanted = target(request)
    proxied = config.auth.anonymous == "everyone"
    if wanted is None:
        response = protocol.reject(404, "There is no WebSocket here.\n")
    elif not origin_allowed(
        request.headers.get_all("Origin"),
        request.headers.get_all("Host"),
        config.auth.origins,
        proxied=proxied,
    ):
        response = protocol.reject(403, "This page's origin may not connect.\n")
    else:
        settings = config.servers.get(wanted.server or "")
        if settings is not None and settings.compression:
            _offer_compression(protocol)
        response = protocol.accept(request)
    protocol.send_response(response)
    return wanted if response.status_code == 101 else None


def codec_of(protocol: ServerProtocol) -> Codec:
    """The encoding that a finished handshake settled on."""
    return CODECS[protocol.subprotocol] if protocol.subprotocol else JSON


def target(request: Request) -> Target | None:
    """What the request's path and query ask for; None where that is no WebSocket."""
    path, _, query = request.path.partition("?")
    if path != PATH and not path.startswith(PATH + "/"):
        return None
    clients = parse_qs(query, keep_blank_values=True).get("client")
    return Target(path[len(PATH) + 1 :] or None, clients[0] if clients else None)


def _offer_compression(protocol: ServerProtocol) -> None:
    """Accept permessage-deflate where the client asks for it."""
    protocol.available_extensions = [
        ServerPerMessageDeflateFactory(server_max_window_bits=12, client_max_window_bits=12)
    ]
