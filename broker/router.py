"""Which namespace has a topic, and which namespaces a server reaches."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from broker.errors import Closed, ConfigError, Rejected
from broker.namespace import Namespace
from broker.topics import check_pattern, check_topic, is_topic, is_wild, may_match_under, shown


class Router:
    """Every namespace of the broker, by server.

    A namespace owns the topic of its own name, and all topics below it.

    Args:
        servers: the namespaces of each server.
        elsewhere: the names of those that another process serves.

    Raises:
        ConfigError: two namespaces own one topic.
    """

    def __init__(
        self, servers: Mapping[str, Sequence[Namespace]], elsewhere: Iterable[str] = ()
    ) -> None:
        self.namespaces = [namespace for group in servers.values() for namespace in group]
        self.names = [*(namespace.name for namespace in self.namespaces), *elsewhere]
        self._owners = frozenset(self.names)
        self._reaches: dict[str | None, Reach] = {None: Reach(self, self.namespaces)}
        self._reaches |= {server: Reach(self, group) for server, group in servers.items()}
        check_owners(self.names)

    def reach(self, server: str | None) -> "Reach":
        """What a connection to `server` (None: to all of them) can touch.

        Raises:
            Closed: 4004, there is no such server.
        """
        reach = self._reaches.get(server)
        if reach is None:
            there = ", ".join(sorted(filter(None, self._reaches)))
            raise Closed(4004, f"unknown server {shown(server or '')}; there are: {there}")
        return reach

    def owner(self, topic: str) -> str | None:
        """The name of the namespace that has a topic, wherever it is served."""
        name = topic
        while name:
            if name in self._owners:
                return name
            name = name.rpartition(".")[0]
        return None


class Reach:
    """The namespaces that a connection can touch."""

    def __init__(self, router: Router, namespaces: Sequence[Namespace]) -> None:
        self.namespaces = namespaces
        self._router = router
        self._by_name = {namespace.name: namespace for namespace in namespaces}

    def publish(self, topic: str) -> Namespace:
        """The namespace that a publish to `topic` goes to.

        Raises:
            Rejected: ``bad_topic``, ``unknown_topic``, ``namespace_not_here``.
        """
        check_topic(topic)
        owner = self._router.owner(topic)
        if owner is None:
            raise Rejected("unknown_topic", f"no namespace has the topic {shown(topic)}")
        namespace = self._by_name.get(owner)
        if namespace is None:
            raise _elsewhere(topic, owner)
        namespace.plugin.body_type(topic)
        return namespace

    def subscribe(self, pattern: str) -> list[Namespace]:
        """The namespaces that a subscription to `pattern` is about; at least one.

        Raises:
            Rejected: ``bad_pattern``, ``unknown_topic``, ``namespace_not_here``.
        """
        check_pattern(pattern)
        if not is_wild(pattern):
            if not is_topic(pattern):
                raise Rejected(
                    "bad_pattern", f"not a topic or pattern: {shown(pattern)}", {"field": "topic"}
                )
            return [self.publish(pattern)]
        everywhere = [name for name in self._router.names if may_match_under(pattern, name)]
        here = [self._by_name[name] for name in everywhere if name in self._by_name]
        if not everywhere:
            raise Rejected("unknown_topic", f"no namespace has topics of {shown(pattern)}")
        if not here:
            raise _elsewhere(pattern, everywhere[0])
        return here


def check_owners(names: Iterable[str]) -> None:
    """Raise `ConfigError` if two namespaces own one topic; both are named."""
    ordered = sorted(names, key=lambda name: name.split("."))
    for first, second in pairwise(ordered):
        if (second + ".").startswith(first + "."):
            raise ConfigError(
                f"namespaces.{second}",
                f"the topic {second!r} has two owners: {first!r} and {second!r}",
            )


def _elsewhere(topic: str, owner: str) -> Rejected:
    return Rejected(
        "namespace_not_here", f"{shown(topic)} belongs to the namespace {owner!r} of another server"
    )
