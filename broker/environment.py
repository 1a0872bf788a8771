"""The environment, laid over the tables of the configuration file.

`EDGESTREAM_LISTEN__PORT=9000` overrides `listen.port`: two underscores go one
level down, letters in a name that an environment variable cannot have (dots,
dashes) are written as one underscore. (docs/configuration.md)
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_origin

import msgspec
from msgspec import Struct

from broker.choices import explained
from broker.errors import ConfigError

PREFIX = "EDGESTREAM_"
LEVEL = "__"


def overlay(data: dict[str, Any], kind: type[Struct], environ: Mapping[str, str]) -> None:
    """Put what `environ` says into `data`, the tables of a configuration of type `kind`.

    Other variables may begin with the prefix too: the command line's own, or those that
    Kubernetes makes of a service's name. They are left alone, unless only a second
    underscore keeps one from being a setting.

    Raises:
        ConfigError: a variable names no setting, or its value does not fit.
    """
    known = {f"{PREFIX}{path}" for path in _paths(kind, data) if LEVEL in path}
    meant = {_flat(name): name for name in known}
    for variable in sorted(environ):
        if not variable.startswith(PREFIX):
            continue
        name = variable.upper()
        if name not in known and _flat(name) in meant:
            raise ConfigError(variable, f"is not a setting, but {meant[_flat(name)]} is")
        if LEVEL in variable:
            _override(data, kind, variable, environ[variable])


def _paths(kind: Any, table: Any) -> Iterator[str]:
    """Every setting and table below a table of type `kind`, as a variable would name it."""
    for name, child in _choices(kind, table).items():
        word = _word(name).upper()
        yield word
        inner = table.get(name) if isinstance(table, dict) else None
        yield from (word + LEVEL + path for path in _paths(child, inner))


def _override(data: dict[str, Any], kind: Any, variable: str, text: str) -> None:
    """Put one variable's value at its place in `data`."""
    table: Any = data
    steps = variable.removeprefix(PREFIX).lower().split(LEVEL)
    for depth, step in enumerate(steps):
        name, kind = _step(kind, table, step, variable)
        if depth == len(steps) - 1:
            table[name] = _value(text, kind, variable)
            return
        table = table.setdefault(name, {})


def _step(kind: Any, table: Any, step: str, variable: str) -> tuple[str, Any]:
    """The name and type of the setting that `step` means inside a table of type `kind`."""
    for name, child in _choices(kind, table).items():
        if _word(name) == step:
            return name, child
    raise ConfigError(variable, f"there is no setting {step!r} to override")


def _choices(kind: Any, table: Any) -> dict[str, Any]:
    """What a table of type `kind` can have, or has where its names are free, with the types."""
    if isinstance(kind, type) and issubclass(kind, Struct):
        return {field.name: field.type for field in msgspec.structs.fields(kind)}
    if isinstance(table, dict):
        return dict.fromkeys(table, get_args(kind)[1] if get_origin(kind) is dict else Any)
    return {}


def _word(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "_", name.lower())


def _flat(variable: str) -> str:
    """`variable`, however many underscores there are between its words."""
    return re.sub("_+", "_", variable)


def _value(text: str, kind: Any, variable: str) -> Any:
    try:
        if kind is str:
            return text
        if kind is Any or text.startswith(("[", "{")):
            return tomllib.loads(f"value = {text}")["value"]
        return msgspec.to_builtins(msgspec.convert(text, kind, strict=False))
    except msgspec.ValidationError as error:
        raise ConfigError(variable, f"{text!r} does not fit: {explained(error, kind)}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(variable, f"{text!r} does not fit: {error}") from None
