"""``edgestream publish``: one message from the command line, or many from standard input."""

import asyncio
import json
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from broker.cli import running
from broker.client import Client, OperationRejected, Receipt
from broker.command import Command

CHUNK = 1 << 16

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

SHOWN = 30
"""How much of what is wrong is shown, in characters."""


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("topic", metavar="TOPIC")
    parser.add_argument(
        "body",
        metavar="BODY",
        nargs="?",
        default="-",
        help="JSON; '-' or nothing: one body per line of standard input",
    )
    parser.add_argument("--key", help="the stream, where the body does not name it")
    running.add_connection(parser)


def _run(args: Namespace) -> int:
    return running.run(_publish_lines(args) if args.body == "-" else _publish_one(args))


async def _publish_one(args: Namespace) -> int:
    try:
        body = msgspec.json.decode(os.fsencode(args.body))
    except UNREADABLE as error:
        why = _not_json(os.fsencode(args.body), error)
        sys.stderr.write(f"edgestream publish: BODY is {why}\n")
        return 2
    async with running.client(args) as client:
        await (await client.publish(args.topic, body, key=args.key))
    return 0


async def _publish_lines(args: Namespace) -> int:
    """Publish standard input. A line that is refused is told, and the others go on."""
    lines = _Lines(args.topic, args.key)
    async with running.client(args) as client:
        await lines.publish(client, sys.stdin.fileno())
        await client.flush()
    return 1 if lines.failed else 0


class _Lines:
    """Lines of JSON on their way to one topic."""

    def __init__(self, topic: str, key: str | None) -> None:
        self._topic = topic
        self._key = key
        self._number = 0
        self.failed = False

    async def publish(self, client: Client, descriptor: int) -> None:
        rest = b""
        async for chunk in _chunks(descriptor):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                await self._publish_line(client, line)
        await self._publish_line(client, rest)

    async def _publish_line(self, client: Client, line: bytes) -> None:
        self._number += 1
        number = self._number
        if not line.strip():
            return
        try:
            body: Any = msgspec.json.decode(line)
        except UNREADABLE as error:
            self._tell(number, _not_json(line, error))
            return

        def rejected(receipt: Receipt, error: OperationRejected) -> None:
            self._tell(number, str(error))

        await client.publish(self._topic, body, key=self._key, on_rejected=rejected)

    def _tell(self, number: int, why: str) -> None:
        self.failed = True
        sys.stderr.write(f"edgestream publish: line {number}: {why}\n")


def _not_json(data: bytes, error: Exception) -> str:
    """Why `data` could not be read, and where: in characters, which one can count."""
    try:
        json.loads(data.decode())  # which tells better than the other
    except UnicodeDecodeError:
        return "not UTF-8"
    except json.JSONDecodeError as better:
        rest = better.doc[better.pos :]
        shown = repr(rest if len(rest) <= SHOWN else rest[:SHOWN] + "…") if rest else "its end"
        return f"not JSON: {better.msg}, at character {better.pos + 1}: {shown}"
    except RecursionError:
        return "not JSON that can be read: it is nested too deeply"
    return f"not JSON that can be read: {error}"


async def _chunks(descriptor: int) -> AsyncIterator[bytes]:
    """What `descriptor` gives, as soon as it is there."""
    while True:
        await _readable(descriptor)
        chunk = os.read(descriptor, CHUNK)
        if not chunk:
            return
        yield chunk


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(descriptor, ready.set)
    except PermissionError:
        return  # a file, which is always readable
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)


COMMAND = Command(
    "publish",
    "publish a message, or one for each line of standard input",
    _add_arguments,
    _run,
    """\
  edgestream publish workflow.done '{"ok": true}' --key run-7
  jq -c '.[]' steps.json | edgestream publish workflow.step --key run-7

The environment variable EDGESTREAM_TOKEN holds the token, where one is needed.""",
)
