"""``edgestream serve``: run the broker."""

import os
from argparse import ArgumentParser, Namespace
from pathlib import Path

from broker import config
from broker.command import Command
from broker.errors import ConfigError

DEFAULT_CONFIG = Path("config.toml")

FLAGS = {"EDGESTREAM_LISTEN__HOST": "host", "EDGESTREAM_LISTEN__PORT": "port"}
"""A flag is checked like the variable that overrides the same setting."""


def add_config(parser: ArgumentParser) -> None:
    """The argument that says which configuration."""
    parser.add_argument(
        "--config",
        type=Path,
        default=DEFAULT_CONFIG,
        metavar="FILE",
        help="the configuration (default: %(default)s)",
    )


def _add_arguments(parser: ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("--host", help="listen on this address, whatever the configuration says")
    parser.add_argument("--port", help="listen on this port, whatever the configuration says")
    parser.add_argument(
        "--server",
        action="append",
        default=[],
        metavar="NAME",
        help="serve this one only, and leave the others to other processes; repeatable",
    )


def load(args: Namespace) -> config.Config:
    """The configuration, with the flags over the environment over the file.

    Raises:
        ConfigError: it cannot be used; a flag is named as such.
    """
    given = {
        variable: getattr(args, flag)
        for variable, flag in FLAGS.items()
        if getattr(args, flag, None) is not None
    }
    try:
        return config.load(args.config, {**os.environ, **given})
    except ConfigError as error:
        if error.where in given:
            raise ConfigError(f"--{FLAGS[error.where]}", error.why) from None
        raise


def _run(args: Namespace) -> int:
    from broker import server  # what it needs, the other commands need not wait for

    return server.run(load(args), args.server)


COMMAND = Command(
    "serve",
    "run the broker until it is stopped",
    _add_arguments,
    _run,
    """\
  edgestream serve
  edgestream serve --config /etc/edgestream.toml --port 9000
  edgestream serve --server chat --port 8081
  EDGESTREAM_LISTEN__PORT=9000 edgestream serve""",
    stopped=0,
)
