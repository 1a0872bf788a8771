"""What a word of the command line is: for `broker.cli`, and for plugins that add one."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Command:
    """One word for `edgestream`. A plugin registers its own under ``edgestream.commands``.

    Attributes:
        name: the word.
        help: what it does, in one line.
        add_arguments: declares its arguments.
        run: does it, and returns the exit code. What it may leave to the command line,
            which tells it in one line: `EdgestreamError`, `KeyboardInterrupt`,
            `asyncio.CancelledError`, `BrokenPipeError`.
        examples: lines for its ``--help``.
        stopped: the exit code after Ctrl-C; 0 for what runs until it is stopped.
    """

    name: str
    help: str
    add_arguments: Callable[[ArgumentParser], None]
    run: Callable[[Namespace], int]
    examples: str = ""
    stopped: int = 130
