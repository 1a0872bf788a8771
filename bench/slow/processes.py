"""Processes that end with whoever started them."""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Any, TypeVar

import msgspec

from bench.systems import ROOT

START_TIMEOUT = 20.0
STOP_TIMEOUT = 10.0
_PR_SET_PDEATHSIG = 1

Found = TypeVar("Found")


class Failed(Exception):
    """A process did not do what it had to; with what it wrote."""


def cores() -> tuple[int, int]:
    """The one of the system, and the one of the load; the same where there is one."""
    found = sorted(os.sched_getaffinity(0))
    return found[0], found[min(1, len(found) - 1)]


@contextmanager
def serving(
    command: Sequence[str], environ: Mapping[str, str], core: int, address: tuple[str, int]
) -> Iterator[int]:
    """Something that listens on `address`; its process.

    Raises:
        Failed: it ended, or did not listen in time.
    """
    with tempfile.TemporaryFile() as output:
        process = _start(command, environ, core, stdout=output, stderr=output)
        try:
            if not _listens(process, address):
                output.seek(0)
                said = output.read()[-2000:].decode(errors="replace")
                raise Failed(f"{command[0]} does not listen on {address}:\n{said}")
            yield process.pid
        finally:
            _stop(process)


class Helper:
    """A process of the load: it is told lines, and says lines. A context manager."""

    def __init__(self, command: Sequence[str], core: int) -> None:
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (until __exit__)
        pipe = subprocess.PIPE
        self._process = _start(command, {}, core, stdin=pipe, stdout=pipe, stderr=self._errors)

    def tell(self, line: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise Failed(self._said("")) from error

    def ready(self) -> None:
        """Wait until it says so.

        Raises:
            Failed: it says something else, or ends.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline().decode().strip()
        if line != "ready":
            raise Failed(self._said(line))

    def found(self, kind: type[Found]) -> Found:
        """What it says at last.

        Raises:
            Failed: it does not.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        try:
            return msgspec.json.decode(line, type=kind)
        except msgspec.DecodeError as error:
            raise Failed(self._said(line.decode(errors="replace"))) from error

    def end(self) -> None:
        """Ask it to say what it has."""
        self._process.send_signal(signal.SIGTERM)

    def __enter__(self) -> "Helper":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        with suppress(OSError):  # what it was still to be told
            self._process.__exit__(None, None, None)
        self._errors.close()

    def _said(self, line: str) -> str:
        self._errors.seek(0)
        return f"{line}\n{self._errors.read()[-2000:].decode(errors='replace')}".strip()


def _start(
    command: Sequence[str], environ: Mapping[str, str], core: int, **files: Any
) -> "subprocess.Popen[bytes]":
    if taskset := shutil.which("taskset"):
        command = [taskset, "-c", str(core), *command]
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
