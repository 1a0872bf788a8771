"""``edgestream demo``: the broker and the demo agent, each a process of its own.

The agent is a separate publisher over a real WebSocket, as any backend would be.
"""

import asyncio
import os
import signal
import sys
from argparse import ArgumentParser, Namespace
from asyncio.subprocess import Process
from http.client import HTTPConnection

from broker.command import Command

START_TIMEOUT = 20.0
STOP_TIMEOUT = 15.0
POLL = 0.05

PLAIN = {"EDGESTREAM_LISTEN__TLS_CERTIFICATE": "", "EDGESTREAM_LISTEN__TLS_KEY": ""}
"""On this machine alone, a certificate for another name would only be in the way."""


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--config", default="config.toml", metavar="FILE", help="the configuration")
    parser.add_argument("--port", type=int, default=8080, help="default: %(default)s")
    parser.add_argument("--rate", default="40", help="tokens/s of an answer (default: %(default)s)")


def _run(args: Namespace) -> int:
    return asyncio.run(_serve(args))


async def _serve(args: Namespace) -> int:
    """Run both until one ends or a signal comes. Returns the exit code."""
    if await asyncio.to_thread(_answers, args.port):
        sys.stderr.write(f"edgestream: something answers on 127.0.0.1:{args.port} already\n")
        return 1
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    url = f"ws://127.0.0.1:{args.port}/ws/chat"
    broker = await _start(
        "serve", "--config", args.config, "--host", "127.0.0.1", "--port", str(args.port)
    )
    agent: Process | None = None
    try:
        if not await _ready(args.port, broker, stop):
            return broker.returncode or 1
        agent = await _start("demo-agent", "--url", url, "--rate", args.rate)
        sys.stdout.write(f"\n  Chat with the demo agent:  http://127.0.0.1:{args.port}/\n")
        sys.stdout.write("  Ctrl-C stops it.\n\n")
        sys.stdout.flush()
        return await _first(stop, broker, agent)
    finally:
        for process in (agent, broker):  # the agent says goodbye to a broker that still listens
            if process is not None:
                await _end(process)


async def _start(*words: str) -> Process:
    # A session of its own: Ctrl-C reaches this process alone, which stops both in order.
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "broker", *words),
        start_new_session=True,
        env={**os.environ, **PLAIN},
    )


async def _ready(port: int, broker: Process, stop: asyncio.Event) -> bool:
    """Wait until the broker takes connections; False if it does not come to that."""
    deadline = asyncio.get_running_loop().time() + START_TIMEOUT
    while broker.returncode is None and not stop.is_set():
        if await asyncio.to_thread(_answers, port):
            return broker.returncode is None
        if asyncio.get_running_loop().time() > deadline:
            sys.stderr.write("edgestream: the broker did not start in time\n")
            return False
        await asyncio.sleep(POLL)
    return False


def _answers(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


async def _first(stop: asyncio.Event, broker: Process, agent: Process) -> int:
    """Wait for a signal (0), or for one of the processes to end (1)."""
    waits = {
        asyncio.ensure_future(stop.wait()): "",
        asyncio.ensure_future(broker.wait()): "the broker",
        asyncio.ensure_future(agent.wait()): "the demo agent",
    }
    done, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in pending:
        wait.cancel()
    ended = waits[done.pop()]
    if ended:
        sys.stderr.write(f"edgestream: {ended} ended by itself\n")
    return 1 if ended else 0


async def _end(process: Process) -> None:
    if process.returncode is None:
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_TIMEOUT)
        except TimeoutError:
            process.kill()
            await process.wait()


COMMAND = Command(
    "demo",
    "run the broker with a demo agent, and a chat page in the browser",
    _add_arguments,
    _run,
    """\
  edgestream demo
  edgestream demo --port 9000""",
    stopped=0,
)
