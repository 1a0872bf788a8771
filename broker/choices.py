"""What a setting or a field may be, where msgspec says only that it is something else."""

import re
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

_WRONG = re.compile(r"Invalid enum value (.*?)(?: - at `\$(.*)`)?$", re.DOTALL)
_STEP = re.compile(r"\.([^.\[]+)|\[[^\]]*\]")


def explained(error: msgspec.ValidationError, kind: Any) -> str:
    """What msgspec says of a value that does not fit `kind`; what is none of several, with them.

    The path to it stays at the end, as msgspec has it: `` - at `$.replay` ``.
    """
    text = str(error)
    wrong = _WRONG.match(text)
    if wrong is None:
        return text
    choices = sorted(map(repr, _choices(kind, wrong[2] or "")))
    place = text[wrong.end(1) :]
    return f"{wrong[1]} is none of {', '.join(choices)}{place}"


def _choices(kind: Any, path: str) -> set[Any]:
    """The values that there may be at a path into a type."""
    kinds = _alternatives(kind)
    for step in _STEP.finditer(path):
        kinds = [each for outer in kinds for each in _inside(outer, step[1])]
    return {value for each in kinds if get_origin(each) is Literal for value in get_args(each)}


def _inside(kind: Any, field: str | None) -> list[Any]:
    """What a field of a type may be; or an item, where the step names no field."""
    if field is None:
        return [each for inner in get_args(kind) for each in _alternatives(inner)]
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return []
    fields = {each.encode_name: each.type for each in msgspec.structs.fields(kind)}
    return _alternatives(fields[field]) if field in fields else []


def _alternatives(kind: Any) -> list[Any]:
    """What a type is one of."""
    origin = get_origin(kind)
    if origin is Annotated:
        return _alternatives(get_args(kind)[0])
    if origin in (Union, UnionType):
        return [each for inner in get_args(kind) for each in _alternatives(inner)]
    return [kind]
