"""A chat turn over HTTP, in whatever dialect it is asked.

    request → agent.chat.userMessage → a worker's turn → its events, in the dialect's words

The head of the response waits until the message is accepted: without a worker there is none,
but a 503. The same question again, while its turn is open, is not asked anew: it is told that
turn from its beginning. (docs/dialects.md)
"""

import asyncio
import re
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import structlog
from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from broker.gateway import EVENT_STREAM, Call, Gateway, Hangup, Refused
from broker.plugin import ConfigError
from plugins.agent.answering import Answering
from plugins.agent.asked import is_known, name_of, open_message, user_audio, user_message
from plugins.agent.dialects import DIALECTS
from plugins.agent.dialects.asking import TEXT, Ask, Incoming, Unfit
from plugins.agent.dialects.base import Dialect
from plugins.agent.dialects.encoder import problem
from plugins.agent.messages import PREFIX, Cancel
from plugins.agent.missed import missed
from plugins.agent.options import ChatOptions
from plugins.agent.recordings import PATH as AUDIO
from plugins.agent.recordings import Recordings

log = structlog.get_logger("edgestream.agent")

STREAM, JSON = "text/event-stream", "application/json"

_PREFIX = re.compile(r"(?:/[A-Za-z0-9_.~-]+)*")


class Mount(NamedTuple):
    """A dialect, where it is, and whether a reader that goes away stops its turn."""

    dialect: Dialect
    prefix: str
    cancels: bool


def mounts(options: ChatOptions, where: str) -> list[Mount]:
    """The dialects that are to be served.

    Raises:
        ConfigError: there is no such dialect, or a prefix is none, or is taken.
    """
    for name in options.dialects.keys() - DIALECTS.keys():
        there = ", ".join(DIALECTS)
        raise ConfigError(f"{where}.{name}", f"there is no such dialect; there are: {there}")
    made: dict[str, Mount] = {}
    for name, dialect in DIALECTS.items():
        chosen = options.dialects.get(name)
        cancels, prefix = dialect.cancel_on_disconnect, "/" + name
        if chosen is not None:
            if not chosen.enabled:
                continue
            prefix = prefix if chosen.prefix is UNSET else chosen.prefix
            cancels = cancels if chosen.cancel is UNSET else chosen.cancel
        if _PREFIX.fullmatch(prefix) is None:
            raise ConfigError(f"{where}.{name}.prefix", f"{prefix!r} is not of the form /a/b")
        other = made.setdefault(prefix, Mount(dialect, prefix, cancels))
        if other.dialect is not dialect:
            raise ConfigError(f"{where}.{name}.prefix", f"{other.dialect.name} has it already")
    return list(made.values())


Question = tuple[str, str]
"""A session, and how the ids of messages that ask the same begin."""

Asked = tuple[Ask, Answering]
Asking = Callable[[Dialect, Request, Call], Awaitable[Asked]]


class ChatGateway:
    """The endpoints of all dialects.

    Args:
        mounts: the dialects.
        recordings: where speech waits for its worker.
        grace: how long a turn goes on whose reader has gone away, where that stops it, in
            seconds: as long as it may come back.
    """

    def __init__(
        self, gateway: Gateway, mounts: Iterable[Mount], recordings: Recordings, grace: float
    ) -> None:
        self._gateway = gateway
        self._mounts = mounts
        self._recordings = recordings
        self._grace = grace
        self._asking: dict[Question, str] = {}  # their messages, which are not accepted yet
        self._askers: Counter[str] = Counter()  # by message: how many wait for that
        self._readers: Counter[str] = Counter()  # by message
        self._stopping: dict[str, asyncio.Task[None]] = {}  # by message that nobody reads

    def routes(self) -> Iterable[BaseRoute]:
        for mount in self._mounts:
            for path in mount.dialect.paths:
                post = partial(self._post, mount, self._ask)
                yield Route(mount.prefix + path, post, methods=["POST"])
            for path in mount.dialect.voice:
                post = partial(self._post, mount, self._say)
                yield Route(mount.prefix + path, post, methods=["POST"])
        yield Route(AUDIO, self._recordings.fetch)
        paths = {
            mount.prefix + path: "POST"
            for mount in self._mounts
            for path in (*mount.dialect.paths, *mount.dialect.voice)
        }
        paths[AUDIO] = "GET, HEAD"
        yield from missed(paths, [mount.prefix for mount in self._mounts])

    async def _post(self, mount: Mount, asking: Asking, request: Request) -> Response:
        try:
            return await self._answer(mount, asking, request)
        except Refused as error:
            field = error.field or (TEXT if error.code == "too_large" else None)
            told = problem(error.code, error.message, error.retryable, field)
            return _json(error.status, told)
        except Unfit as error:
            return _json(422, problem("bad_message", str(error), False, error.field))
        except Hangup:
            return Response(status_code=400)  # nobody is there to read it

    async def _answer(self, mount: Mount, asking: Asking, request: Request) -> Response:
        offered = (STREAM,) if mount.dialect.document is None else (STREAM, JSON)
        call = self._gateway.admit(request, offered)
        try:
            ask, answering = await asking(mount.dialect, request, call)
        except BaseException:
            call.leave()
            raise
        self._arrived(answering.message_id)
        over = partial(self._over, mount, ask.session, call, answering)
        if ask.stream:
            return call.stream(EVENT_STREAM, over)
        try:
            await call.finish()
        finally:
            over()
        if not answering.ended:
            return Response(status_code=400)  # it has gone away
        return _json(*answering.encoder.answer())

    # ------------------------------------------------------------- asking

    async def _ask(self, dialect: Dialect, request: Request, call: Call) -> Asked:
        """Ask, or find that it is being answered already."""
        ask = dialect.ask(_incoming(request, await self._gateway.read_object(request)))
        question = ask.session, name_of("http", ask, ask.text)
        known, after = open_message(self._gateway.state(ask.session), question[1])
        id = known or self._new(question)
        answering = self._answering(dialect, ask, id, call)
        call.follow(PREFIX + ">", ask.session, answering, after)
        if not known:
            await self._publish(call, question, id, "userMessage", user_message(ask, id))
        return ask, answering

    async def _say(self, dialect: Dialect, request: Request, call: Call) -> Asked:
        """Have a worker fetch what the user said, and answer it; or find that one does."""
        recording = await self._recordings.receive(self._gateway, request)
        try:
            ask = dialect.hear(_incoming(request, recording.fields))
            question = ask.session, name_of("voice", ask, recording.digest)
            known, _ = open_message(self._gateway.state(ask.session), question[1])
            id = known or self._new(question)
            answering = self._answering(dialect, ask, id, call)
            # What was heard was told before the turn began: so all is told, as far as it is there.
            call.follow(PREFIX + ">", ask.session, answering, history=bool(known))
        except BaseException:
            recording.file.file.close()
            raise
        if known:
            recording.file.file.close()
            return ask, answering
        url = self._recordings.keep(recording, (ask.session, id))
        try:
            audio = user_audio(ask, id, recording, url)
            await self._publish(call, question, id, "userAudio", audio)
        except BaseException:
            if not self._is_known(ask.session, id):
                self._recordings.drop((ask.session, id))
            raise
        return ask, answering

    def _new(self, question: Question) -> str:
        """The id of the message that asks this: the one of those who wait for its acceptance."""
        return self._asking.get(question) or question[1] + secrets.token_urlsafe(6)

    async def _publish(
        self, call: Call, question: Question, id: str, topic: str, body: Any
    ) -> None:
        """Ask, and let those who ask the same meanwhile find it."""
        self._asking[question] = id
        self._askers[id] += 1
        try:
            await call.publish(PREFIX + topic, body)
        finally:
            self._askers[id] -= 1
            if not self._askers[id]:
                del self._askers[id], self._asking[question]

    def _answering(self, dialect: Dialect, ask: Ask, id: str, call: Call) -> Answering:
        known = partial(self._is_known, ask.session, id)
        return Answering(id, dialect.encoder(ask), dialect.lingers, call.say, known)

    def _is_known(self, session: str, id: str) -> bool:
        return id in self._askers or is_known(self._gateway.state(session), id)

    # ------------------------------------------------------------- the end

    def _arrived(self, id: str) -> None:
        """Somebody reads what answers a message: it is not to be stopped any more."""
        self._readers[id] += 1
        if id in self._stopping:
            self._stopping.pop(id).cancel()

    def _over(self, mount: Mount, session: str, call: Call, answering: Answering) -> None:
        """The response is complete, or its reader has gone away. The last one that goes
        decides whether that stops the turn."""
        id = answering.message_id
        self._readers[id] -= 1
        if self._readers[id] or answering.ended or not mount.cancels:
            _leave(call, answering)
        else:
            stopping = asyncio.get_running_loop().create_task(self._stop(session, call, answering))
            self._stopping[id] = stopping
            stopping.add_done_callback(partial(self._stopped, call, answering))
        if not self._readers[id]:
            del self._readers[id]

    async def _stop(self, session: str, call: Call, answering: Answering) -> None:
        """Stop a turn unless somebody reads it again soon: then this is cancelled."""
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(answering.finished.wait(), self._grace)
            await answering.started.wait()
            if not answering.ended:
                cancel = Cancel(session, answering.turn_id, reason="its reader has gone away")
                await call.publish(PREFIX + "cancel", cancel)
        except Refused as refusal:  # it has ended meanwhile
            log.info("turn not cancelled", code=refusal.code)

    def _stopped(self, call: Call, answering: Answering, stopping: asyncio.Task[None]) -> None:
        if self._stopping.get(answering.message_id) is stopping:
            del self._stopping[answering.message_id]
        _leave(call, answering)


def _leave(call: Call, answering: Answering) -> None:
    answering.leave()
    call.leave()


def _incoming(request: Request, body: Mapping[str, Any]) -> Incoming:
    path: Mapping[str, Any] = request.path_params
    accept = ",".join(request.headers.getlist("accept"))
    return Incoming(path, request.query_params, {**request.headers, "accept": accept}, body)


def _json(status: int, body: bytes) -> Response:
    return Response(body, status, media_type="application/json")
