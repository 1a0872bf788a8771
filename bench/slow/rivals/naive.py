"""The naive relay on an address, and with TLS: HOST PORT [CERTIFICATE KEY]."""

import ssl
import sys

import uvloop
from websockets.asyncio.server import serve
from websockets.typing import Subprotocol

from bench.rivals.naive import Relay


async def run(host: str, port: int, tls: ssl.SSLContext | None) -> None:
    names = [Subprotocol("edgestream.v1.json")]
    async with serve(
        Relay().handle, host, port, subprotocols=names, compression=None, ssl=tls
    ) as server:
        await server.serve_forever()


def main(host: str, port: str, *files: str) -> None:
    tls = None
    if files:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(*files)
    uvloop.run(run(host, int(port), tls))


if __name__ == "__main__":
    main(*sys.argv[1:])
