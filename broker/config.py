"""The configuration: `config.toml`, then the environment, as frozen typed Structs.

An unknown key or a wrong type stops the start with the setting's path and the
reason. (docs/configuration.md)
"""

import os
import re
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct, field

from broker.choices import explained
from broker.environment import overlay
from broker.errors import ConfigError
from broker.topics import is_topic

T = TypeVar("T")

Positive = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(ge=0.01, le=31_536_000)]

LEAST_EVENTS = 32
"""What a history retains of one stream, at least: as much as is published in one go."""


class _Section(Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the configuration file."""


class Listen(_Section, frozen=True):
    """Where the one port is, and what it proves itself with where it speaks TLS.

    The two are PEM files, named relative to the configuration file's folder.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8080
    tls_certificate: str = ""
    tls_key: str = ""


class Limits(_Section, frozen=True):
    """What one connection may do."""

    max_message_bytes: Annotated[int, Meta(ge=1024)] = 1 << 20
    max_subscriptions: Positive = 1000


class Heartbeat(_Section, frozen=True):
    """Liveness: pings every `interval` seconds; a silence of twice that ends a connection."""

    interval: Seconds = 20.0


class Logging(_Section, frozen=True):
    """How events are logged, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["console", "json"] = "console"


class Auth(_Section, frozen=True):
    """Who is let in without a token: peers on this machine, or everyone.

    `origins` are pages that browsers may connect from, such as
    ``https://chat.example.com``, beside the broker's own and those of this machine.
    """

    anonymous: Literal["loopback", "everyone"] = "loopback"
    origins: list[str] = field(default_factory=list)


class Shutdown(_Section, frozen=True):
    """How long a stopping broker may take to deliver what it holds, in seconds."""

    drain: Seconds = 10.0


class Queue(_Section, frozen=True):
    """A namespace's bound on what waits to be handled. Over it, publishers are not read."""

    messages: Positive = 2_000
    bytes: Positive = 1 << 20


class History(_Section, frozen=True):
    """What a namespace retains: events of one stream, and bytes and seconds of them all."""

    events: Positive = 100_000
    bytes: Positive = 256 << 20
    age: Seconds = 3600.0
    streams: Positive = 100_000


class Storage(_Section, frozen=True):
    """Where a durable namespace is stored, and what its acks survive.

    `file` is named relative to the configuration file's folder. With `sync` "normal" an ack
    survives the end of the process; with "full" it survives the machine's as well. What comes
    within `commit_ms` of a commit waits for the next one.
    """

    file: str = ""
    sync: Literal["normal", "full"] = "normal"
    commit_ms: Annotated[int, Meta(ge=0, le=1000)] = 10


class Server(_Section, frozen=True):
    """A named endpoint, `/ws/{name}`, and the namespaces that it reaches."""

    namespaces: list[str]
    compression: bool = False


class Namespace(_Section, frozen=True):
    """A set of topics under one name, and the plugin that owns them."""

    plugin: str
    engine: Literal["memory", "sqlite"] = "memory"
    weight: Annotated[int, Meta(ge=1, le=100)] = 1
    max_body_bytes: Positive = 256 << 10
    queue: Queue = Queue()
    history: History = History()
    storage: Storage = Storage()
    options: dict[str, Any] = field(default_factory=dict)


class Config(_Section, frozen=True):
    """The whole configuration."""

    servers: dict[str, Server]
    namespaces: dict[str, Namespace]
    listen: Listen = Listen()
    limits: Limits = Limits()
    heartbeat: Heartbeat = Heartbeat()
    logging: Logging = Logging()
    auth: Auth = Auth()
    shutdown: Shutdown = Shutdown()


def load(path: Path, environ: Mapping[str, str] = os.environ) -> Config:
    """Read `path`, lay the environment over it, and check it.

    Raises:
        ConfigError: the file cannot be read, or a setting is unknown or wrong.
    """
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), f"cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(str(path), f"is not TOML: {error}") from None
    _convert(data)  # a mistake in the file is named as such, whatever the environment says
    overlay(data, Config, environ)
    config = _convert(data)
    _check_servers(config)
    _check_sizes(config)
    folder = path.parent.absolute()
    listen = _with_paths(config.listen, folder)
    namespaces = _with_files(config.namespaces, folder)
    return msgspec.structs.replace(config, listen=listen, namespaces=namespaces)


def part(config: Config, servers: Collection[str]) -> Config:
    """What a process needs that serves only `servers`; all of it where there are none.

    Raises:
        ConfigError: there is no such server.
    """
    if not servers:
        return config
    for name in servers:
        if name not in config.servers:
            there = ", ".join(sorted(config.servers))
            raise ConfigError(f"servers.{name}", f"there is no such server; there are: {there}")
    chosen = {name: server for name, server in config.servers.items() if name in servers}
    served = {name for server in chosen.values() for name in server.namespaces}
    namespaces = {name: table for name, table in config.namespaces.items() if name in served}
    return msgspec.structs.replace(config, servers=chosen, namespaces=namespaces)


def as_toml_like(config: Config) -> dict[str, Any]:
    """The configuration with every default filled in, as plain data."""
    plain: dict[str, Any] = msgspec.to_builtins(config)
    return plain


def _convert(data: dict[str, Any]) -> Config:
    # The named tables first, one by one: so that a mistake is told with the table's name.
    for section, kind in (("servers", Server), ("namespaces", Namespace)):
        tables = data.get(section)
        if isinstance(tables, dict):
            for name, table in tables.items():
                checked(table, kind, f"{section}.{name}")
    return checked(data, Config, "")


def checked(data: Any, kind: type[T], prefix: str) -> T:
    """A table that stands at `prefix`, as what it has to be.

    Raises:
        ConfigError: it is something else.
    """
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise _config_error(explained(error, kind), prefix) from None


def _config_error(said: str, prefix: str) -> ConfigError:
    """msgspec's words, with the path in ours: ``listen.port``."""
    text, _, at = said.partition(" - at `")
    steps = [prefix, at.rstrip("`").removeprefix("$").lstrip(".")]
    named = re.search(r"(unknown|missing required) field `([^`]*)`", text)
    if named:
        steps.append(named[2])
        text = "is missing" if named[1].startswith("missing") else "is not a setting"
    return ConfigError(".".join(filter(None, steps)) or "config", text[:1].lower() + text[1:])


def _with_paths(listen: Listen, folder: Path) -> Listen:
    """`listen` with the whole paths of its files."""
    files = {"tls_certificate": listen.tls_certificate, "tls_key": listen.tls_key}
    for name, other in ("tls_certificate", "tls_key"), ("tls_key", "tls_certificate"):
        if files[other] and not files[name]:
            raise ConfigError(f"listen.{name}", f"is missing: listen.{other} is nothing without it")
    whole = {name: str(folder / file) for name, file in files.items() if file}
    return msgspec.structs.replace(listen, **whole)


def _with_files(namespaces: dict[str, Namespace], folder: Path) -> dict[str, Namespace]:
    """`namespaces` with the whole paths of their files, each of which has one of its own."""
    owners: dict[Path, str] = {}
    whole = dict(namespaces)
    for name, namespace in namespaces.items():
        where, storage = f"namespaces.{name}.storage.file", namespace.storage
        if namespace.engine == "memory":
            if storage != Storage():
                raise ConfigError(where, 'is nothing without engine = "sqlite"')
            continue
        if not storage.file:
            raise ConfigError(where, 'is missing: engine = "sqlite" stores in a file')
        file = folder / storage.file
        owner = owners.setdefault(file.resolve(), name)
        if owner != name:
            raise ConfigError(where, f"{file} is the file of {owner!r} already")
        storage = msgspec.structs.replace(storage, file=str(file))
        whole[name] = msgspec.structs.replace(namespace, storage=storage)
    return whole


def _check_sizes(config: Config) -> None:
    most = config.limits.max_message_bytes
    for name, namespace in config.namespaces.items():
        if namespace.max_body_bytes > most:
            raise ConfigError(
                f"namespaces.{name}.max_body_bytes",
                f"{namespace.max_body_bytes} is more than limits.max_message_bytes, {most}: "
                "such a body could never come",
            )
        history = namespace.history
        if history.bytes < namespace.max_body_bytes:
            raise ConfigError(
                f"namespaces.{name}.history.bytes",
                f"{history.bytes} is less than max_body_bytes, {namespace.max_body_bytes}: "
                "such a body would be gone before it could be read again",
            )
        if history.events < LEAST_EVENTS:
            raise ConfigError(
                f"namespaces.{name}.history.events",
                f"{history.events} is less than {LEAST_EVENTS}: "
                "a reader that is a moment behind would have a gap",
            )


def _check_servers(config: Config) -> None:
    for name, server in config.servers.items():
        if re.fullmatch(r"[A-Za-z0-9_-]+", name) is None:
            raise ConfigError(f"servers.{name}", "a name has letters, digits, '_' and '-' only")
        for namespace in server.namespaces:
            if server.namespaces.count(namespace) > 1:
                raise ConfigError(f"servers.{name}.namespaces", f"{namespace!r} stands there twice")
            if namespace not in config.namespaces:
                raise ConfigError(
                    f"servers.{name}.namespaces", f"there is no namespace {namespace!r}"
                )
    for namespace in config.namespaces:
        if not is_topic(namespace):
            raise ConfigError(f"namespaces.{namespace}", "a namespace is named like a topic")
        homes = [name for name, server in config.servers.items() if namespace in server.namespaces]
        if len(homes) != 1:
            where = "no server has it" if not homes else f"several servers have it: {homes}"
            raise ConfigError(f"namespaces.{namespace}", f"belongs to one server, but {where}")
