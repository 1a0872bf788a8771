"""What the demo agent says: something about the question, found without a model."""

import ast
import operator
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from msgspec import Struct, field

LARGEST = 10**15
"""No operand or result of the calculator is larger."""

LONGEST = 200
"""How much of a question is searched for a sum."""

GLOSSARY = {
    "topic": "A topic is where a message is published: levels joined by dots, such as "
    "workflow.step. A pattern with * or > covers many of them.",
    "namespace": "A namespace is a set of topics with one owner, a queue and a history of its "
    "own, so that a flood in one does not delay the others.",
    "stream": "A stream is one key of a namespace. Its events have one order, whatever their "
    "topics are.",
    "cursor": "A cursor is a place in a stream. A client that comes back with one goes on "
    "exactly there, or learns that something is missing.",
    "turn": "A turn is one answer of an agent: it starts, streams tokens and tool calls, and "
    "always ends, with its full text or with an error.",
    "token": "A token is a piece of an answer, with its index. Repeats are dropped by that "
    "index, and a gap is noticed.",
    "backpressure": "Backpressure means that whoever is too fast is slowed down, instead of "
    "somebody else's messages being dropped.",
    "session": "A session is one conversation. It is the key of its stream, so everything in "
    "it stays in order.",
    "broker": "The broker stands between agents and their users: it checks, orders, keeps and "
    "delivers every event, and lets no namespace starve another.",
    "snapshot": "A snapshot is the compacted state of a stream: who joins late reads it, and "
    "then goes on live.",
}

_OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_SUM = re.compile(r"[\d.(][\d\s.+\-*/%()^×÷]*[\d)]")
_TOKEN = re.compile(r"\s*(?:\w{1,5}|[^\w\s]+)|\s+")
_COMMON = frozenset(re.findall(r"\w+", """
    about above after again also because been before being could does doing down from have having
    here into just like make more most much only other over please same should some such tell than
    that their them then there these they this those through under until very want were what when
    where which while will with would your"""))  # fmt: skip


class Answer(Struct):
    """An answer, ready to be streamed: a thought, one tool call, the text."""

    thought: str
    tool: str
    arguments: dict[str, Any]
    result: dict[str, Any]
    text: str
    read: int
    suggestions: list[str] = field(default_factory=list)


def tokens(text: str) -> Iterator[str]:
    """`text` in the pieces that a model would emit: parts of words, with leading spaces."""
    for found in _TOKEN.finditer(text):
        yield found.group()


def answer(question: str, now: Callable[[], datetime] = datetime.now) -> Answer:
    """Something about `question`."""
    read = sum(1 for _ in tokens(question))
    words = re.findall(r"[^\W\d_]+", question.lower())
    expression = _expression(question)
    if expression is not None:
        return _calculated(expression, read)
    terms = [term for term in GLOSSARY if any(_is_form_of(word, term) for word in words)]
    if terms:
        return _looked_up(terms, read)
    if {"time", "date", "day", "clock", "today"} & set(words):
        return _told_the_time(now(), read)
    return _reflected(question, words, read)


def calculate(expression: str) -> int | float:
    """The value of a sum of numbers, and of nothing else.

    Raises:
        ValueError: it is no such sum, too large, or has no value.
    """
    try:
        return _value(ast.parse(expression, mode="eval").body)
    except (SyntaxError, RecursionError, MemoryError):
        raise ValueError("that is no sum of numbers") from None
    except ZeroDivisionError:
        raise ValueError("nothing can be divided by zero") from None
    except OverflowError:
        raise ValueError("that number is too large") from None


def _value(node: ast.expr) -> int | float:
    result: Any
    if isinstance(node, ast.Constant):
        result = node.value
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        result = -_value(node.operand)
    elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = _value(node.left), _value(node.right)
        if isinstance(node.op, ast.Pow) and not (0 <= right <= 64 and abs(left) <= 1000):
            raise ValueError("that power is too large")
        result = _OPERATORS[type(node.op)](left, right)
    else:
        raise ValueError("that is no sum of numbers")
    if type(result) is not int and type(result) is not float:
        raise ValueError("that is no sum of numbers")
    if not abs(result) <= LARGEST:
        raise ValueError("that number is too large")
    return result


def _expression(question: str) -> str | None:
    """The sum in `question`, if there is one."""
    for found in _SUM.finditer(question[:LONGEST]):
        text = found.group().replace("^", "**").replace("×", "*").replace("÷", "/")
        try:
            parsed = ast.parse(text, mode="eval").body
        except (SyntaxError, RecursionError, MemoryError):
            continue  # numbers, but no sum: a telephone number, a date
        if isinstance(parsed, ast.BinOp):
            return text
    return None


def _is_form_of(word: str, term: str) -> bool:
    return word in (term, term + "s")


def _calculated(expression: str, read: int) -> Answer:
    try:
        value = calculate(expression)
    except ValueError as error:
        result: dict[str, Any] = {"error": str(error)}
        said = f"I tried, but {error}. A smaller or simpler sum will do."
    else:
        result = {"value": value}
        said = f"That makes {value:,}. I did not do it in my head: the calculator tool did."
    text = (
        f"You gave me something to calculate: {expression}. {said} "
        "Each step is checked before it is taken, so only numbers and plain arithmetic get "
        "through. Ask me for another one, if you like."
    )
    return Answer(
        "There are numbers in this; better not to guess.",
        "calculator",
        {"expression": expression},
        result,
        text,
        read,
        ["What is (17 + 4) * 2?", "What is a turn?"],
    )


def _looked_up(terms: list[str], read: int) -> Answer:
    explained = " ".join(GLOSSARY[term] for term in terms[:3])
    text = (
        f"You ask about {_listed(terms[:3])}. {explained} "
        "You can watch it happen: this answer reached you in just that way, one token after "
        "the other. Is there a part that you would like to see closer?"
    )
    others = [term for term in GLOSSARY if term not in terms]
    return Answer(
        "I know these words; let me look them up.",
        "glossary",
        {"terms": terms[:3]},
        {"found": len(terms[:3])},
        text,
        read,
        [f"What is a {others[0]}?", f"And what is a {others[1]}?"],
    )


def _told_the_time(now: datetime, read: int) -> Answer:
    text = (
        f"It is {now:%H:%M} on {now:%A}, {now.day} {now:%B %Y}, where I am running. "
        f"That is day {now.timetuple().tm_yday} of the year. "
        "I looked at the machine's clock for it, with a tool call that you may have seen "
        "go by. By the time you read this, it is a little later."
    )
    return Answer(
        "The clock will know.",
        "clock",
        {},
        {"time": now.isoformat(timespec="seconds")},
        text,
        read,
        ["What is a cursor?", "What is 365 * 24?"],
    )


def _reflected(question: str, words: list[str], read: int) -> Answer:
    telling = sorted({w for w in words if len(w) > 3 and w not in _COMMON}, key=words.index)
    count = len(question.split())
    longest = max(words, key=len, default="")
    quoted = " ".join(question.split())
    quoted = quoted if len(quoted) <= 120 else quoted[:120].rsplit(" ", 1)[0] + "…"
    opening = f"You wrote: “{quoted}”. " if quoted else "You wrote nothing that I could read. "
    kind = "a question" if question.rstrip().endswith("?") else "a statement"
    middle = f"I read that as {kind} of {count} word{'' if count == 1 else 's'}"
    middle += f", the longest of which is “{longest}”. " if longest else ". "
    if telling:
        middle += (
            f"What stands out to me is {_listed(telling[:3])}. "
            f"If I were to begin somewhere, I would ask what {telling[0]} means to you here, "
            "and what would have to change for you to call it solved. "
        )
    text = (
        f"{opening}{middle}"
        "I have no language model behind me, so I will not pretend to know more than that. "
        "But I can calculate, tell the time, and explain the words of this broker."
    )
    return Answer(
        "I will read this closely before I answer.",
        "inspect_text",
        {"characters": len(question)},
        {"words": count, "telling": telling[:5]},
        text,
        read,
        ["What is a namespace?", "What time is it?", "What is 12 * 12?"],
    )


def _listed(words: list[str]) -> str:
    quoted = [f"“{word}”" for word in words]
    return quoted[0] if len(quoted) == 1 else ", ".join(quoted[:-1]) + " and " + quoted[-1]
