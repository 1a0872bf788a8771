"""Many ask over HTTP at once, and read their answers as server-sent events, while a flood of
WebSocket messages saturates another namespace."""

import asyncio
from collections import Counter
from itertools import cycle

import msgspec
from unit.front_ends import READERS

from ..processes import process
from ..run import Broken, Run, broker, metrics
from ..words import text

ASK = {
    "octopus": ("/octopus/api/chat/{session}/send", {"message": "{session}"}),
    "opshub": ("/opshub/api/chat", {"message": "{session}", "sessionId": "{session}"}),
}
"""What two front ends post: one that buffers what comes, one that takes each chunk for itself."""

BESIDE = 4
"""Events of a turn that are no words: the message, the start, the last token and the end."""


async def asked(run: Run) -> None:
    """Every answer is complete, and says what the worker said; the flood goes on meanwhile."""
    turns, tokens = 200, run.size(20, 500)
    async with (
        broker() as running,
        process("speaker", running.url("/ws/chat"), turns, tokens, run.size(0, 50)),
        process("flood", running.url("/ws/bas")),
    ):
        clock = asyncio.get_running_loop().time
        before, began = await metrics(running, "workflow"), clock()
        async with asyncio.TaskGroup() as tasks:
            answers = [
                tasks.create_task(_ask(running.port, name, f"s{number}"))
                for number, name in zip(range(turns), cycle(ASK))
            ]
        took = clock() - began
        after, counts = await metrics(running, "workflow"), await metrics(running)
    told = Counter(
        answer.result() == text(f"s{number}", tokens) for number, answer in enumerate(answers)
    )
    run.hold("answers that are what was said", told, Counter({True: turns}))
    run.hold("accepted and sent", counts["events_accepted"], turns * (tokens + BESIDE))
    run.hold("refused", counts["errors_sent"], 0)
    flood = after["events_accepted"] - before["events_accepted"]
    if flood < turns * tokens:
        raise Broken(f"that was no flood: {flood} events")
    run.tokens = turns * tokens
    run.counts.update(answers=turns, tokens=run.tokens, flood=flood)
    run.figures["tokens a second of each"] = f"{tokens / took:.1f}"
    run.figures["events of the flood"] = f"{flood / took:,.0f}/s"


async def _ask(port: int, name: str, session: str) -> str:
    """The text of an answer, as the front end `name` reads it."""
    path, body = ASK[name]
    data = msgspec.json.encode({key: value.format(session=session) for key, value in body.items()})
    head = (
        f"POST {path.format(session=session)} HTTP/1.1",
        *("Host: 127.0.0.1", "Accept: text/event-stream", "Connection: close"),
        *("Content-Type: application/json", f"Content-Length: {len(data)}", "", ""),
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write("\r\n".join(head).encode() + data)
    status = await reader.readuntil(b"\r\n\r\n")
    if not status.startswith(b"HTTP/1.1 200"):
        raise Broken(f"{session} was told {status!r}, {await reader.read()!r}")
    front_end = READERS[name]()
    while size := int(await reader.readline(), 16):
        front_end.feed(await reader.readexactly(size))
        await reader.readexactly(2)
    writer.close()
    return str(front_end.text)
