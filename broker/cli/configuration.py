"""``edgestream config``: look at the configuration without running it."""

import json
import re
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from typing import Any

from broker import config
from broker.cli.serve import add_config, load
from broker.command import Command


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "what",
        choices=("check", "show"),
        help="check: can a broker be made of it?  show: every setting, defaults and all",
    )
    add_config(parser)


def _run(args: Namespace) -> int:
    from broker import loading  # what it needs, the other commands need not wait for

    settings = load(args)
    loading.check(settings)
    if args.what == "show":
        sys.stdout.write(as_toml(config.as_toml_like(settings)))
    else:
        sys.stdout.write(f"{args.config}: good\n")
    return 0


def as_toml(tables: Mapping[str, Any]) -> str:
    """Plain data as TOML."""
    return "\n".join(_table(tables, ())).strip() + "\n"


def _table(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    plain = {name: value for name, value in table.items() if not isinstance(value, dict)}
    if path and (plain or not table):
        yield f"\n[{'.'.join(map(_key, path))}]"
    for name, value in plain.items():
        yield f"{_key(name)} = {_value(value)}"
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _table(value, (*path, name))


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _value(name)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


COMMAND = Command(
    "config",
    "check the configuration, or show it with every default",
    _add_arguments,
    _run,
    """\
  edgestream config check
  edgestream config show --config /etc/edgestream.toml""",
)
