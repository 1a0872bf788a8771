"""The table of the turns: what each topic needs, what repeats it, and what it changes.

`plugins.agent.turns` goes by it.
"""

import hashlib
from collections.abc import Callable
from enum import Enum
from typing import Any, NamedTuple

import msgspec

from broker.plugin import BROKER, Event
from plugins.agent.messages import PREFIX, Token, ToolCallCompleted, ToolCallStarted
from plugins.agent.sessions import Turn


class Needs(Enum):
    """What an event needs its turn to be."""

    MESSAGE = "belongs to no turn; its messageId names it in its session"
    NEW = "begins one"
    KNOWN = "was started, and may have ended"
    OPEN = "was started, and has not ended"


MESSAGE, NEW, KNOWN, OPEN = Needs


class Rule(NamedTuple):
    """One row of the table: what holds for a topic.

    Attributes:
        turn: what the event needs its turn to be.
        owned: only the turn's owner may publish it.
        repeats: whether it was accepted before; None where it has no name of its own.
        apply: what it changes in its turn.
        ends: whether it ends its turn.
    """

    turn: Needs
    owned: bool
    repeats: Callable[[Any, Any], bool] | None
    apply: Callable[[Any, Event], None] | None
    ends: bool = False


def digest(body: Any) -> bytes:
    """Equal bodies have equal digests; of one long ended, nothing else is kept."""
    return hashlib.blake2b(msgspec.msgpack.encode(body), digest_size=16).digest()


def _token_repeats(turn: Turn, body: Token) -> bool:
    return body.tokenIndex + body.count <= turn.next_index


def _token(turn: Turn, event: Event) -> None:
    body: Token = event.body
    if event.sender is BROKER:
        turn.is_last = True  # it ends the text, and takes no index from its publisher
        turn.write("")
    elif body.tokenIndex == turn.next_index:  # or it is folded again
        turn.write(body.token)
        turn.next_index += body.count
        turn.is_last = body.isLast


def _tool_start_repeats(turn: Turn, body: ToolCallStarted) -> bool:
    return turn.tools is not None and body.toolCallId in turn.tools


def _tool_start(turn: Turn, event: Event) -> None:
    id = event.body.toolCallId
    turn.tools = turn.tools or {}
    turn.tools[id] = event.body.toolName
    turn.tools_open = turn.tools_open or {}
    turn.tools_open[id] = event


def _tool_end_repeats(turn: Turn, body: ToolCallCompleted) -> bool:
    return turn.tools_done is not None and body.toolCallId in turn.tools_done


def _tool_end(turn: Turn, event: Event) -> None:
    id = event.body.toolCallId
    turn.tools = turn.tools or {}
    turn.tools.setdefault(id, "")  # its start may have been lost with another publisher
    turn.tools_done = turn.tools_done or set()
    turn.tools_done.add(id)
    if turn.tools_open is not None:
        turn.tools_open.pop(id, None)


def _saved_repeats(turn: Turn, body: Any) -> bool:
    return turn.saved is not None and body.messageId in turn.saved


def _saved(turn: Turn, event: Event) -> None:
    turn.saved = turn.saved or set()
    turn.saved.add(event.body.messageId)


def _end_repeats(turn: Turn, body: Any) -> bool:
    return turn.ending is not None and turn.ending == digest(body)


def _nothing(turn: Turn, event: Event) -> None:
    """It is a sign of life."""


def _cancel(turn: Turn, event: Event) -> None:
    turn.cancel = turn.cancel or event


def _complete(turn: Turn, event: Event) -> None:
    turn.told = turn.text == event.body.fullText
    turn.forget_text()


def _fail(turn: Turn, event: Event) -> None:
    if turn.parts:
        turn.parts = ["".join(turn.parts)]


RULES: dict[str, Rule] = {
    PREFIX + topic: rule
    for topic, rule in {
        # topic               the turn        owned   named by          what it changes
        "turnStarted": Rule(NEW, False, None, None),
        "token": Rule(OPEN, True, _token_repeats, _token),
        "toolCallStarted": Rule(OPEN, True, _tool_start_repeats, _tool_start),
        "toolCallCompleted": Rule(OPEN, True, _tool_end_repeats, _tool_end),
        "turnCompleted": Rule(OPEN, True, _end_repeats, _complete, ends=True),
        "error": Rule(OPEN, True, _end_repeats, _fail, ends=True),
        "thinking": Rule(OPEN, True, None, _nothing),
        "progress": Rule(OPEN, True, None, _nothing),
        "action": Rule(OPEN, True, None, _nothing),
        "suggestions": Rule(OPEN, True, None, _nothing),
        "cancel": Rule(OPEN, False, None, _cancel),
        "messageSaved": Rule(KNOWN, False, _saved_repeats, _saved),
        "userMessage": Rule(MESSAGE, False, None, None),
        "userAudio": Rule(MESSAGE, False, None, None),
        "transcription": Rule(MESSAGE, False, None, None),
    }.items()
}
