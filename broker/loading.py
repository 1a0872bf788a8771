"""From settings to plugins: what has to fit before there can be a broker."""

from collections.abc import Mapping
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any

from broker import config
from broker.engines import file
from broker.errors import ERRORS, ConfigError, ErrorInfo
from broker.plugin import Plugin
from broker.router import check_owners
from broker.transports.listener import check_tls


def check(settings: config.Config) -> None:
    """Find out whether a broker could be made of `settings`, without starting one.

    Raises:
        ConfigError: it could not.
    """
    load_plugins(settings)
    check_tls(settings.listen)
    for name, namespace in settings.namespaces.items():
        if namespace.engine == "sqlite":
            check_file(name, namespace.storage)


def check_file(name: str, storage: config.Storage) -> None:
    """Find out whether a namespace's file may be used.

    Raises:
        ConfigError: it may not.
    """
    try:
        file.check(storage)
    except file.Broken as error:
        raise ConfigError(f"namespaces.{name}.storage.file", str(error)) from None


def load_plugins(settings: config.Config) -> dict[str, Plugin[Any]]:
    """The plugin of every namespace.

    Raises:
        ConfigError: there is no such plugin, its options are wrong, or two own one topic.
    """
    check_owners(settings.namespaces)
    known = {entry.name: entry for entry in entry_points(group="edgestream.plugins")}
    plugins: dict[str, Plugin[Any]] = {}
    for name, namespace in settings.namespaces.items():
        where = f"namespaces.{name}"
        if namespace.plugin not in known:
            there = ", ".join(sorted(known))
            raise ConfigError(
                f"{where}.plugin", f"there is no plugin {namespace.plugin!r}; there are: {there}"
            )
        kind: type[Plugin[Any]] = known[namespace.plugin].load()
        options = config.checked(namespace.options, kind.Options, f"{where}.options")
        plugins[name] = kind(name, options)
    return plugins


def error_codes(plugins: Mapping[str, Plugin[Any]]) -> Mapping[str, ErrorInfo]:
    """Every error code that the broker can send.

    Raises:
        ConfigError: a plugin takes a code that has a meaning already.
    """
    codes = dict(ERRORS)
    for name, plugin in plugins.items():
        for code, info in plugin.errors.items():
            if codes.setdefault(code, info) is not info:
                raise ConfigError(f"namespaces.{name}", f"the error code {code!r} is taken")
    return MappingProxyType(codes)
