"""Processes that end with whoever started them: systems, proxies, and the load's own."""

import ctypes
import os
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Self, TypeVar

import msgspec

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT = 20.0
STOP_TIMEOUT = 15.0
SAID = 2000
"""How much of what a process wrote is told, in bytes."""

_PR_SET_PDEATHSIG = 1

Found = TypeVar("Found")


class DidNotStart(Exception):
    """A system ended, or did not listen in time; with what it wrote."""


class Failed(Exception):
    """A process of the load did not do what it had to; with what it wrote."""


class Serving:
    """Something that listens: where, and what it has written so far."""

    def __init__(self, pid: int, port: int, output: IO[bytes]) -> None:
        self.pid = pid
        self.port = port
        self._output = output

    def said(self) -> str:
        """The end of what it wrote."""
        size = os.fstat(self._output.fileno()).st_size
        start = max(0, size - SAID)
        return os.pread(self._output.fileno(), SAID, start).decode(errors="replace").strip()


@contextmanager
def serving(
    command: Sequence[str],
    environ: Mapping[str, str],
    address: tuple[str, int],
    core: int | None = None,
) -> Iterator[Serving]:
    """Start something that listens on `address`, on `core`, and stop it in the end.

    Raises:
        DidNotStart: it ended, or did not listen in time.
    """
    with tempfile.TemporaryFile() as output:
        process = _start(command, environ, core, stdout=output, stderr=output)
        found = Serving(process.pid, address[1], output)
        try:
            if not _listens(process, address):
                raise DidNotStart(f"{command[0]} does not listen on {address}:\n{found.said()}")
            yield found
        finally:
            _stop(process)


class Helper:
    """A process of the load: it is told lines, and says lines. A context manager."""

    def __init__(self, command: Sequence[str | Path], core: int | None = None) -> None:
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (until __exit__)
        pipe = subprocess.PIPE
        words = list(map(str, command))
        self._process = _start(words, {}, core, stdin=pipe, stdout=pipe, stderr=self._errors)
        self.pid = self._process.pid

    def tell(self, line: str | bytes) -> None:
        """
        Raises:
            Failed: it has ended.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode() if isinstance(line, str) else line)
            self._process.stdin.write(b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise Failed(self._said("")) from error

    def expect(self, answer: str) -> None:
        """Wait until it says so.

        Raises:
            Failed: it says something else, or ends.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline().decode().strip()
        if line != answer:
            raise Failed(self._said(line))

    def found(self, kind: type[Found], patience: float) -> Found:
        """What it says at last, in at most so many seconds.

        Raises:
            Failed: it does not.
        """
        try:
            said, _ = self._process.communicate(timeout=patience)
            return msgspec.json.decode(said, type=kind)
        except (OSError, subprocess.TimeoutExpired, msgspec.DecodeError) as error:
            raise Failed(self._said(str(error))) from error

    def end(self) -> None:
        """Ask it to say what it has."""
        self._process.send_signal(signal.SIGTERM)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        with suppress(OSError):  # what it was still to be told
            self._process.__exit__(None, None, None)
        self._errors.close()

    def _said(self, line: str) -> str:
        self._errors.seek(0)
        return f"{line}\n{self._errors.read()[-SAID:].decode(errors='replace')}".strip()


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def _start(
    command: Sequence[str], environ: Mapping[str, str], core: int | None, **files: Any
) -> "subprocess.Popen[bytes]":
    if core is not None and (taskset := shutil.which("taskset")):
        command = [taskset, "-c", str(core), *command]
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # it inherits that
    # In a session of its own: Ctrl-C is for whoever started it, and it ends with that one.
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | environ,
        stdin=files.pop("stdin", subprocess.DEVNULL),
        start_new_session=True,
        preexec_fn=_die_with_parent(),
        **files,
    )


def _die_with_parent() -> Callable[[], None]:
    libc = ctypes.CDLL(None)
    return lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _listens(process: "subprocess.Popen[bytes]", address: tuple[str, int]) -> bool:
    end = time.monotonic() + START_TIMEOUT
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection(address, timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return True
    return False


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
