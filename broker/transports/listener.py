"""The one port: its socket, its certificate, and uvicorn behind it."""

import asyncio
import contextlib
import socket
import ssl
from pathlib import Path
from typing import Any, NoReturn

import uvicorn

from broker.config import Listen
from broker.errors import ConfigError


class HttpServer(uvicorn.Server):
    """uvicorn, started and stopped by the broker: without signal handlers and polling."""

    def capture_signals(self) -> Any:
        return contextlib.nullcontext()

    async def main_loop(self) -> None:
        self.exit = asyncio.Event()
        while not self.exit.is_set():
            await self.on_tick(0)  # the date in the headers of answers
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.exit.wait(), 1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens on `host`, an address or a name.

    Raises:
        ConfigError: the address is not to be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "not an address"
        raise ConfigError("listen", f"{host}:{port} is not to be had: {why}") from None
    bound.setblocking(False)
    return bound


def check_tls(listen: Listen) -> None:
    """Find out whether TLS is possible with the files that `listen` names, if it does.

    Raises:
        ConfigError: it is not; the file in question is named.
    """
    certificate, key = listen.tls_certificate, listen.tls_key
    if not certificate:
        return
    for setting, file in ("listen.tls_certificate", certificate), ("listen.tls_key", key):
        try:
            Path(file).read_bytes()
        except OSError as error:
            raise ConfigError(setting, f"{file} cannot be read: {error.strerror}") from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_verify_locations(certificate)
    except ssl.SSLError:
        why = f"{certificate} holds no certificate in PEM form"
        raise ConfigError("listen.tls_certificate", why) from None
    try:
        context.load_cert_chain(certificate, key, _no_passphrase)
    except ssl.SSLError as error:
        why = f"cannot be used: {error.reason}" if error.reason else "holds no key in PEM form"
        if error.reason == "KEY_VALUES_MISMATCH":
            why = f"is not the key of {certificate}"
        raise ConfigError("listen.tls_key", f"{key} {why}") from None


def _no_passphrase() -> NoReturn:
    raise ConfigError("listen.tls_key", "it is encrypted, and nobody is there to be asked")
