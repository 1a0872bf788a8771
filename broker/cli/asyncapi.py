"""``edgestream asyncapi``: the protocol and the topics of a configuration, for tools."""

import json
import sys
from argparse import ArgumentParser, Namespace

from broker.cli.serve import add_config, load
from broker.command import Command


def _add_arguments(parser: ArgumentParser) -> None:
    add_config(parser)


def _run(args: Namespace) -> int:
    from broker import asyncapi, loading  # what it needs, the other commands need not wait for

    settings = load(args)
    described = asyncapi.document(settings, loading.load_plugins(settings))
    sys.stdout.write(json.dumps(described, indent=2, ensure_ascii=False) + "\n")
    return 0


COMMAND = Command(
    "asyncapi",
    "print an AsyncAPI 3 document of the messages and topics",
    _add_arguments,
    _run,
    """\
  edgestream asyncapi > asyncapi.json""",
)
