"""Recorded speech on its way to a worker: kept until it is fetched, or too old.

A recording is a file without a name, so nothing of it stays behind, even of a process that is
killed. Who knows its address has it, once: the address is random, and goes to one worker.
"""

import asyncio
import re
import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from typing import NamedTuple

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from broker.gateway import Refused
from plugins.agent.options import VoiceOptions

PATH = "/voice/{name}"
FIELD = "audio"
MAX_FIELDS = 20
MAX_FIELD_BYTES = 4 << 10
FRAMING_BYTES = 64 << 10
"""How much larger than its recording a request may be."""

CHUNK = 64 << 10

_MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+[ -~]{0,200}", re.ASCII)


class Recording(NamedTuple):
    """One, that was received.

    Attributes:
        fields: the other fields of its form.
    """

    file: UploadFile
    content_type: str
    size: int
    fields: dict[str, str]


class _Parser(MultiPartParser):
    spool_max_size = 64 << 10  # what is larger is on the disk, not in memory


class Recordings:
    """Those that wait for a worker."""

    def __init__(self, options: VoiceOptions) -> None:
        self._options = options
        self._waiting: dict[str, tuple[Recording, asyncio.TimerHandle]] = {}
        self._coming = 0

    async def receive(self, request: Request) -> Recording:
        """The recording of a request: a multipart form, with a file `audio`.

        Raises:
            Refused: 408, 413, 415, 422, 429.
            ClientDisconnect: it has not come to its end.
        """
        if not request.headers.get("content-type", "").startswith("multipart/form-data"):
            raise Refused("unsupported_type", "content-type: multipart/form-data")
        if len(self._waiting) + self._coming >= self._options.max_recordings:
            raise Refused("rate_limited", "too many recordings wait for a worker")
        self._coming += 1
        try:
            async with asyncio.timeout(self._options.upload):
                return await self._parse(request)
        except TimeoutError:
            raise Refused("too_large", "the recording took too long to come", status=408) from None
        finally:
            self._coming -= 1

    def keep(self, recording: Recording) -> str:
        """Keep a recording for its worker. Returns its address: a path on this port."""
        name = secrets.token_urlsafe(24)
        loop = asyncio.get_running_loop()
        self._waiting[name] = recording, loop.call_later(self._options.keep, self.drop, name)
        return PATH.format(name=name)

    def drop(self, name: str) -> None:
        """Let go of a recording, if it is still there. `name` may be its address."""
        recording = self._take(name.rpartition("/")[2])
        if recording is not None:
            recording.file.file.close()

    def close(self) -> None:
        """Let go of all that is left."""
        for name in list(self._waiting):
            self.drop(name)

    async def fetch(self, request: Request) -> Response:
        """The route by which its worker has it, once."""
        recording = self._take(request.path_params["name"])
        if recording is None:
            return Response("There is no such recording, or it was fetched.\n", 404)
        headers = {"content-length": str(recording.size), "cache-control": "no-store"}
        return StreamingResponse(
            _read(recording), headers=headers, media_type=recording.content_type
        )

    def _take(self, name: str) -> Recording | None:
        recording, timer = self._waiting.pop(name, (None, None))
        if timer is not None:
            timer.cancel()
        return recording

    async def _parse(self, request: Request) -> Recording:
        parser = _Parser(
            request.headers,
            self._bounded(request),
            max_files=1,
            max_fields=MAX_FIELDS,
            max_part_size=MAX_FIELD_BYTES,
        )
        try:
            form = await parser.parse()
        except MultiPartException as error:
            raise Refused("bad_message", error.message) from None
        file = form.get(FIELD)
        try:
            if not isinstance(file, UploadFile) or not file.size:
                raise Refused("bad_message", f"{FIELD} is missing, or empty", FIELD)
            if file.size > self._options.max_bytes:
                raise self._too_large()
            kind = file.content_type or "application/octet-stream"
            if _MEDIA_TYPE.fullmatch(kind) is None:
                raise Refused("bad_message", f"{FIELD}: {kind[:99]!r} is no media type", FIELD)
        except Refused:
            await form.close()
            raise
        fields = {name: value for name, value in form.items() if isinstance(value, str)}
        return Recording(file, kind, file.size, fields)

    async def _bounded(self, request: Request) -> AsyncGenerator[bytes, None]:
        """What comes, until it is too much."""
        left = self._options.max_bytes + FRAMING_BYTES
        async for part in request.stream():
            left -= len(part)
            if left < 0:
                raise self._too_large()
            yield part

    def _too_large(self) -> Refused:
        most = self._options.max_bytes
        return Refused("too_large", f"{FIELD}: a recording has at most {most} bytes", FIELD)


async def _read(recording: Recording) -> AsyncIterator[bytes]:
    file, left = recording.file, recording.size
    try:
        while left > 0 and (part := await file.read(CHUNK)):
            left -= len(part)
            if not left:
                await file.close()  # its reader goes away with the last byte
            yield part
    finally:
        file.file.close()
