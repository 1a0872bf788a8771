"""``edgestream subscribe``: watch topics live."""

import asyncio
import os
import sys
from argparse import ArgumentParser, Namespace
from datetime import datetime
from typing import Any

import msgspec

from broker.cli import running
from broker.client import Client, Event
from broker.command import Command

DIM, CYAN, YELLOW, PLAIN = "\x1b[2m", "\x1b[36m", "\x1b[33m", "\x1b[0m"


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("topics", metavar="TOPIC", nargs="+", help="a topic or a pattern")
    parser.add_argument("--key", help="one stream only")
    parser.add_argument(
        "--replay",
        choices=("none", "snapshot", "history"),
        default="none",
        help="what to begin with (default: %(default)s)",
    )
    parser.add_argument(
        "--group", help="take part in this work queue: each event goes to one of its members"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per event and line")
    running.add_connection(parser)


def _run(args: Namespace) -> int:
    return running.run(_watch(args))


async def _watch(args: Namespace) -> int:
    colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    async with running.client(args) as client:
        watches = [_watch_one(client, topic, args, colours) for topic in dict.fromkeys(args.topics)]
        await asyncio.gather(*watches)
    return 0


async def _watch_one(client: Client, topic: str, args: Namespace, colours: bool) -> None:
    events = client.subscribe(topic, args.key, replay=args.replay, group=args.group)
    async for event in events:
        if event.after_gap:
            sys.stderr.write(f"edgestream subscribe: {topic}: events before the next were missed\n")
        sys.stdout.write((_as_json(event) if args.json else _as_line(event, colours)) + "\n")
        sys.stdout.flush()


def _as_json(event: Event) -> str:
    fields: dict[str, Any] = {"topic": event.topic, "time": event.time, "body": event.body}
    if event.key is not None:
        fields["key"] = event.key
    if event.cursor is not None:
        fields["cursor"] = event.cursor
    if event.replayed:
        fields["replayed"] = True
    return msgspec.json.encode(fields).decode()


def _as_line(event: Event, colours: bool) -> str:
    clock = datetime.fromtimestamp(event.time / 1000).strftime("%H:%M:%S.%f")[:-3]
    body = msgspec.json.encode(event.body).decode()
    parts = [(DIM, clock), (CYAN, event.topic)]
    if event.key is not None:
        parts.append((YELLOW, event.key))
    head = [f"{colour}{text}{PLAIN}" if colours else text for colour, text in parts]
    return "  ".join([*head, body])


COMMAND = Command(
    "subscribe",
    "watch topics until it is stopped",
    _add_arguments,
    _run,
    """\
  edgestream subscribe 'workflow.>'
  edgestream subscribe workflow.step workflow.done --key run-7 --replay snapshot
  edgestream subscribe '>' --json | jq .body

The environment variable EDGESTREAM_TOKEN holds the token, where one is needed.""",
    stopped=0,
)
