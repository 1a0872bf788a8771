"""The command line.

Exit codes: 0 done; 1 failed; 2 wrong usage; 3 no connection to the broker;
130 stopped by Ctrl-C. What runs until it is stopped, as `serve` and `subscribe`
do, ends with 0 then. Errors are one line on standard error.
"""

import asyncio
import os
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points

from broker import __version__
from broker.cli import asyncapi, configuration, publish, serve, subscribe
from broker.client import CannotConnect
from broker.command import Command
from broker.config import Logging
from broker.errors import ConfigError, EdgestreamError
from broker.logs import configure

BUILT_IN = (
    serve.COMMAND,
    publish.COMMAND,
    subscribe.COMMAND,
    configuration.COMMAND,
    asyncapi.COMMAND,
)
EPILOG = """\
examples:
  edgestream serve
  edgestream subscribe 'workflow.>'
  edgestream publish workflow.done '{"ok": true}' --key run-7

exit codes: 0 done, 1 failed, 2 wrong usage, 3 no connection, 130 stopped by Ctrl-C
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code.

    Raises:
        SystemExit: for ``--help``, ``--version`` and wrong usage.
    """
    words = sys.argv[1:] if argv is None else argv
    commands = {command.name: command for command in _commands(*words[:1])}
    args = _parser(list(commands.values())).parse_args(words)
    configure(Logging())
    return _run(commands[args.command], args)


def _run(command: Command, args: Namespace) -> int:
    try:
        return command.run(args)
    except (KeyboardInterrupt, asyncio.CancelledError):
        return command.stopped
    except BrokenPipeError:
        # Our reader has seen enough. Keep the interpreter from flushing to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OverflowError, RecursionError) as error:
        sys.stderr.write(f"edgestream: this cannot be sent: {error}\n")
        return 1
    except EdgestreamError as error:
        sys.stderr.write(f"edgestream: {error}\n")
        return _exit_code(error)


def _exit_code(error: EdgestreamError) -> int:
    if isinstance(error, CannotConnect):
        return 3
    is_flag = isinstance(error, ConfigError) and error.where.startswith("--")
    return 2 if is_flag else 1


def _parser(commands: Sequence[Command]) -> ArgumentParser:
    parser = ArgumentParser(
        prog="edgestream",
        description="A message broker for LLM chat: WebSocket pub/sub with namespaces.",
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"edgestream {__version__}")
    words = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in commands:
        examples = f"examples:\n{command.examples}" if command.examples else None
        command.add_arguments(
            words.add_parser(
                command.name,
                help=command.help,
                description=command.help[:1].upper() + command.help[1:] + ".",
                epilog=examples,
                formatter_class=RawDescriptionHelpFormatter,
            )
        )
    return parser


def _commands(word: str = "") -> list[Command]:
    """Those that `word` may be. What another one imports, it need not wait for."""
    built_in = {command.name: command for command in BUILT_IN}
    if word in built_in:
        return [built_in[word]]
    entries = entry_points(group="edgestream.commands")
    named = [_load(entry) for entry in entries if entry.name == word]
    if word in [command.name for command in named]:
        return named
    return [*BUILT_IN, *[c for c in map(_load, entries) if c.name not in built_in]]


def _load(entry: EntryPoint) -> Command:
    """A plugin's command. A broken one must not take the others down with it."""
    try:
        command = entry.load()
        if not isinstance(command, Command):
            raise TypeError(f"{entry.value} is no broker.command.Command")
    except Exception as error:
        return _broken(entry.name, error)
    return command


def _broken(name: str, error: Exception) -> Command:
    why = f"cannot be loaded: {error!r}"

    def run(args: Namespace) -> int:
        sys.stderr.write(f"edgestream: {name} {why}\n")
        return 1

    return Command(name, why.replace("%", "%%"), lambda parser: None, run)
