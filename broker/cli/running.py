"""What commands that talk to a broker have in common."""

import asyncio
import os
import signal
import ssl
from argparse import ArgumentParser, Namespace
from collections.abc import Coroutine

import uvloop

from broker.client import Client, connect
from broker.errors import ConfigError

DEFAULT_URL = "ws://127.0.0.1:8080/ws"


def add_connection(parser: ArgumentParser) -> None:
    """The arguments that say which broker."""
    parser.add_argument(
        "--url", default=DEFAULT_URL, help="where the broker is (default: %(default)s)"
    )
    parser.add_argument(
        "--cafile", metavar="FILE", help="for wss: trust the authorities in this PEM file alone"
    )


def client(args: Namespace) -> Client:
    """A client for the broker that `args` says.

    Raises:
        ConfigError: the authorities cannot be read, or there is nothing to prove to them.
    """
    if args.cafile is not None and not args.url.startswith("wss:"):
        raise ConfigError("--cafile", f"is for wss, not for {args.url}")
    return connect(args.url, token=token(), tls=_trust(args.cafile))


def _trust(cafile: str | None) -> ssl.SSLContext | None:
    if cafile is None:
        return None
    try:
        return ssl.create_default_context(cafile=cafile)
    except ssl.SSLError:
        raise ConfigError("--cafile", f"{cafile} holds no certificate in PEM form") from None
    except OSError as error:
        raise ConfigError("--cafile", f"{cafile} cannot be read: {error.strerror}") from None


def token() -> str | None:
    """The bearer token, from the environment: an argument would show in a process list."""
    return os.environ.get("EDGESTREAM_TOKEN")


def run(work: Coroutine[None, None, int]) -> int:
    """Run `work`; SIGTERM cancels it, as Ctrl-C does.

    Raises:
        KeyboardInterrupt, asyncio.CancelledError: it was stopped.
    """
    return uvloop.run(_until_terminated(work))


async def _until_terminated(work: Coroutine[None, None, int]) -> int:
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task
