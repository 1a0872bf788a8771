"""One reader of the turn that answers a message: from the session's events to its response."""

import asyncio
from collections.abc import Callable
from typing import Any

from msgspec import UNSET

from plugins.agent.dialects.encoder import Encoder, Event
from plugins.agent.messages import (
    ChatError,
    Token,
    Transcription,
    TurnBody,
    TurnCompleted,
    TurnStarted,
)


class Answering:
    """Picks a turn's events out of its session's, and has them encoded. See `Follower`.

    Args:
        message_id: of the message that the turn answers.
        lingers: for how many seconds the turn is followed beyond its closing event.
        say: writes what no event is the reason of.
        known: tells whether what becomes of the message can still be told.

    Attributes:
        turn_id: the turn's, once it has started.
        started, finished: it has, or it never will; the response is complete.
    """

    def __init__(
        self,
        message_id: str,
        encoder: Encoder,
        lingers: float,
        say: Callable[[bytes], None],
        known: Callable[[], bool],
    ) -> None:
        self.message_id = message_id
        self.encoder = encoder
        self.turn_id = ""
        self.started = asyncio.Event()
        self.finished = asyncio.Event()
        self._lingers = lingers
        self._say = say
        self._known = known
        self._lingering: asyncio.TimerHandle | None = None

    @property
    def ended(self) -> bool:
        return self.finished.is_set()

    def begin(self) -> bytes:
        return self.encoder.accepted()

    def event(self, topic: str, body: Any, time: int) -> bytes:
        if not self._is_ours(body):
            return b""
        data = self.encoder.event(Event(topic, body, time))
        if self.encoder.ended:
            self._finish()
        elif isinstance(body, TurnCompleted) and self._lingering is None:
            loop = asyncio.get_running_loop()
            self._lingering = loop.call_later(self._lingers, self._close)
        return data

    def replayed(self) -> bytes:
        if self.ended or self._known():
            return self.encoder.retold()
        return self.failed("slow_consumer", "What became of this was let go meanwhile.", True)

    def failed(self, code: str, message: str, retryable: bool) -> bytes:
        data = self.encoder.failed(code, message, retryable)
        self._finish()
        return data

    def leave(self) -> None:
        """Nobody reads it any more."""
        if self._lingering is not None:
            self._lingering.cancel()

    def _is_ours(self, body: Any) -> bool:
        if isinstance(body, Token):  # as most are
            return bool(body.turnId == self.turn_id)
        if isinstance(body, TurnStarted) and body.messageId == self.message_id:
            self.turn_id = self.turn_id or body.turnId
            self.started.set()
        if isinstance(body, TurnBody) or (isinstance(body, ChatError) and body.turnId is not UNSET):
            return bool(body.turnId == self.turn_id)
        if isinstance(body, ChatError | Transcription) and not self.turn_id:
            return body.messageId == self.message_id
        return False  # also what is said of a message that has its turn: that goes on

    def _close(self) -> None:
        data = self.encoder.closed()
        self._finish()
        self._say(data)

    def _finish(self) -> None:
        self.finished.set()
        self.started.set()
        self.leave()
