"""FastAPI: a WebSocket endpoint and a dict of connections, as its tutorial has it; and the same
events as a `StreamingResponse`, with a queue for each reader.

uvicorn runs it on uvloop and httptools (``uvicorn[standard]``), without access log and
compression. It speaks as much of edgestream's JSON as the generator needs and checks nothing.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse

Place = tuple[str, str]
"""A topic and a session."""

app = FastAPI()
subscribers: dict[Place, set[WebSocket]] = defaultdict(set)
streams: dict[Place, set[asyncio.Queue[str]]] = defaultdict(set)


async def publish(op: dict[str, Any]) -> None:
    topic, key = op["topic"], op["body"]["sessionId"]
    event = json.dumps({"op": "event", "topic": topic, "key": key, "body": op["body"]})
    for socket in subscribers[topic, key]:
        await socket.send_text(event)
    for queue in streams[topic, key]:
        queue.put_nowait(event)


async def follow(place: Place) -> AsyncIterator[str]:
    queue: asyncio.Queue[str] = asyncio.Queue()
    streams[place].add(queue)
    try:
        yield f"data: {json.dumps({'op': 'subscribed'})}\n\n"
        while True:
            yield f"data: {await queue.get()}\n\n"
    finally:
        streams[place].discard(queue)


@app.get("/events")
async def events(topic: str, key: str) -> StreamingResponse:
    return StreamingResponse(follow((topic, key)), media_type="text/event-stream")


@app.websocket("/{path:path}")
async def endpoint(socket: WebSocket) -> None:
    await socket.accept(subprotocol="edgestream.v1.json")
    mine = []
    try:
        while True:
            decoded = json.loads(await socket.receive_text())
            for op in decoded if isinstance(decoded, list) else [decoded]:
                if op["op"] == "subscribe":
                    mine.append((op["topic"], op["key"]))
                    subscribers[op["topic"], op["key"]].add(socket)
                    await socket.send_text(json.dumps({"op": "subscribed", "id": op["id"]}))
                elif op["op"] == "publish":
                    await publish(op)
                    if "id" in op:
                        await socket.send_text(json.dumps({"op": "ack", "id": op["id"]}))
    except WebSocketDisconnect:
        pass
    finally:
        for place in mine:
            subscribers[place].discard(socket)
