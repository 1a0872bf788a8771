"""The naive relay on the `websockets` asyncio API: what one would write first.

It speaks as much of the protocol as the generator needs and checks nothing:
no bodies, no order, no cursors, no bounds. Run it as a module: HOST PORT [CERTIFICATE KEY].
"""

import json
import ssl
import sys
from collections import defaultdict
from typing import Any

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.typing import Subprotocol


class Relay:
    """Connections by (topic, key)."""

    def __init__(self) -> None:
        self.subscribers: dict[tuple[str, str], set[ServerConnection]] = defaultdict(set)

    async def handle(self, socket: ServerConnection) -> None:
        mine = []
        try:
            async for message in socket:
                decoded = json.loads(message)
                for op in decoded if isinstance(decoded, list) else [decoded]:
                    if op["op"] == "subscribe":
                        mine.append((op["topic"], op["key"]))
                        self.subscribers[op["topic"], op["key"]].add(socket)
                        await socket.send(json.dumps({"op": "subscribed", "id": op["id"]}))
                    elif op["op"] == "publish":
                        self.publish(op)
                        if "id" in op:
                            await socket.send(json.dumps({"op": "ack", "id": op["id"]}))
        finally:
            for place in mine:
                self.subscribers[place].discard(socket)

    def publish(self, op: dict[str, Any]) -> None:
        topic, key = op["topic"], op["body"]["sessionId"]
        event = {"op": "event", "topic": topic, "key": key, "body": op["body"]}
        self.deliver(topic, key, json.dumps(event))

    def deliver(self, topic: str, key: str, event: str) -> None:
        broadcast(self.subscribers[topic, key], event)


async def run(relay: Relay, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
    names = [Subprotocol("edgestream.v1.json")]
    async with serve(
        relay.handle, host, port, subprotocols=names, compression=None, ssl=tls
    ) as server:
        await server.serve_forever()


def main(host: str, port: str, *files: str) -> None:
    tls = None
    if files:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(*files)
    uvloop.run(run(Relay(), host, int(port), tls))


if __name__ == "__main__":
    main(*sys.argv[1:])
