"""Recorded speech on its way to a worker: kept until its turn has ended, or it is too old.

A recording is a file without a name, so nothing of it stays behind, even of a process that is
killed. Who knows its address has it: the address is random, and stands in the `userAudio` event,
for the worker and for whoever else may read its session. It can be fetched once, whole, for each
time that its message is given to a worker: so a second one finds it there, too, when the first one
was lost with it, and nobody does behind them.
"""

import asyncio
import hashlib
import re
import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from typing import NamedTuple

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from broker.gateway import Gateway, Refused
from plugins.agent.dialects.encoder import problem
from plugins.agent.options import VoiceOptions

PATH = "/voice/{name}"
FIELD = "audio"
FORM = "multipart/form-data"
MAX_FIELDS = 20
MAX_FIELD_BYTES = 4 << 10
FRAMING_BYTES = 64 << 10
"""How much larger than its recording a request may be."""

WHOLE = "$"
"""Names the form itself, where no field of it is wrong."""

CHUNK = 64 << 10

_KINDS = "audio/*, video/webm, application/octet-stream"
_KIND = re.compile(
    r"(audio/[\w.+-]+|video/webm|application/octet-stream)( *;[ -~]{0,200})?",
    re.ASCII | re.IGNORECASE,
)
"""Types that no browser runs: a recording is served from the broker's own origin."""

Name = tuple[str, str]
"""A message's: its session and its id."""


class Recording(NamedTuple):
    """One, that was received.

    Attributes:
        fields: the other fields of its form.
        digest: of what it says: the same for the same recording.
    """

    file: UploadFile
    content_type: str
    size: int
    fields: dict[str, str]
    digest: str


class _Kept:
    """A recording that waits, and the timer that lets go of it.

    Attributes:
        fetched: when its last reader began, by the loop's clock.
    """

    def __init__(self, recording: Recording, message: Name, timer: asyncio.TimerHandle) -> None:
        self.recording = recording
        self.message = message
        self.fetched: float | None = None
        self._timer = timer
        self._left = 0  # times that it may be fetched
        self._groups = 0  # that were given its message
        self._given_again = 0
        self._readers = 0
        self._over = False
        self._place = asyncio.Lock()  # readers share the file's

    @property
    def there(self) -> bool:
        """Whether it can be fetched."""
        return self._left > 0

    def give(self, *, again: bool) -> None:
        """See `Recordings.give`. What the one before did not fetch is not there besides."""
        if again:
            self._given_again += 1
            self._left = min(self._left, self._groups - 1)
        else:
            self._groups += 1
        self._left += 1

    def let_go(self) -> None:
        """It is not to be had any more, but for those who read it now."""
        self._timer.cancel()
        self._over = True
        self._close()

    async def read(self) -> AsyncIterator[bytes]:
        file, size, at = self.recording.file, self.recording.size, 0
        given_again = self._given_again
        self._readers += 1
        try:
            while at < size:
                async with self._place:
                    await file.seek(at)
                    part = await file.read(min(CHUNK, size - at))
                at += len(part)
                yield part
            if given_again == self._given_again:  # or another needs it, who may be in the middle
                self._left = max(0, self._left - 1)
        finally:
            self._readers -= 1
            self._close()

    def _close(self) -> None:
        if self._over and not self._readers:
            self.recording.file.file.close()


class _Parser(MultiPartParser):
    spool_max_size = 64 << 10  # what is larger is on the disk, not in memory


class Recordings:
    """Those whose turns have not ended."""

    def __init__(self, options: VoiceOptions) -> None:
        self._options = options
        self._kept: dict[str, _Kept] = {}
        self._addresses: dict[Name, str] = {}  # by message: the random part
        self._coming = 0

    async def receive(self, gateway: Gateway, request: Request) -> Recording:
        """The recording of a request: a multipart form, with a file `audio`.

        Raises:
            Refused: 408, 413, 415, 422; 429, too many are on their way.
            Hangup: it has not come to its end.
        """
        gateway.check_body(request, FORM, self._options.max_bytes + FRAMING_BYTES, FIELD)
        if self._coming >= self._options.max_recordings:
            raise Refused("rate_limited", "too many recordings are on their way")
        self._coming += 1
        try:
            async with asyncio.timeout(self._options.upload):
                return await self._parse(request)
        except TimeoutError:
            why = f"the recording took longer than {self._options.upload:g} s"
            raise Refused("bad_message", why, FIELD, status=408) from None
        finally:
            self._coming -= 1

    def keep(self, recording: Recording, message: Name) -> str:
        """Keep a recording for the worker of its message. Returns its address: a path on this
        port. Of a message that has one, this is the same: it is let go.

        Raises:
            Refused: 429, too many are kept; it is let go.
        """
        known = self._addresses.get(message)
        if known is not None:
            recording.file.file.close()
            return PATH.format(name=known)
        if len(self._kept) >= self._options.max_recordings:
            recording.file.file.close()
            raise Refused("rate_limited", "too many recordings are kept for their workers")
        name = secrets.token_urlsafe(24)
        timer = asyncio.get_running_loop().call_later(self._options.keep, self.drop, message)
        self._kept[name] = _Kept(recording, message, timer)
        self._addresses[message] = name
        return PATH.format(name=name)

    def give(self, message: Name, *, again: bool) -> None:
        """A message was given to a worker, of one more group or (`again`) instead of another:
        its recording, if it has one, can be fetched by this one, too."""
        name = self._addresses.get(message)
        if name is not None:
            self._kept[name].give(again=again)

    def drop(self, message: Name) -> None:
        """Let go of a message's recording, if there is one."""
        name = self._addresses.pop(message, None)
        if name is not None:
            self._kept.pop(name).let_go()

    def is_heard(self, message: Name) -> bool:
        """Whether somebody has fetched its recording, and may well be about to understand it."""
        name = self._addresses.get(message)
        fetched = None if name is None else self._kept[name].fetched
        if fetched is None:
            return False
        return asyncio.get_running_loop().time() < fetched + self._options.understanding

    def close(self) -> None:
        """Let go of all that is left."""
        for message in list(self._addresses):
            self.drop(message)

    async def fetch(self, request: Request) -> Response:
        """The route by which its worker has it."""
        kept = self._kept.get(request.path_params["name"])
        if kept is None or not kept.there:
            why = problem("no_recording", "there is none here, or it was fetched", False)
            return Response(why, 404, media_type="application/json")
        recording = kept.recording
        headers = {
            "content-type": recording.content_type,
            "content-length": str(recording.size),
            "content-disposition": "attachment",
            "x-content-type-options": "nosniff",
            "cache-control": "no-store",
        }
        if request.method == "HEAD":
            return Response(headers=headers)
        kept.fetched = asyncio.get_running_loop().time()
        return StreamingResponse(kept.read(), headers=headers)

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
            raise Refused("bad_message", error.message, WHOLE) from None
        file = form.get(FIELD)
        try:
            if not isinstance(file, UploadFile) or not file.size:
                raise Refused("bad_message", f"{FIELD} is missing, or empty", FIELD)
            if file.size > self._options.max_bytes:
                raise self._too_large()
            kind = file.content_type or "application/octet-stream"
            if _KIND.fullmatch(kind) is None:
                raise Refused("unsupported_type", f"{FIELD}: one of {_KINDS}", FIELD)
        except Refused:
            await form.close()
            raise
        fields = {name: value for name, value in form.items() if isinstance(value, str)}
        return Recording(file, kind, file.size, fields, await _digest(file))

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


async def _digest(file: UploadFile) -> str:
    digest = hashlib.sha256()
    await file.seek(0)
    while part := await file.read(CHUNK):
        digest.update(part)
    return digest.hexdigest()
