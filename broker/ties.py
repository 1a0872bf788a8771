"""What ties one connection to namespaces: its way in, and its part in those that care."""

from typing import Protocol

from broker.ingress import Ingress, Publisher
from broker.leases import Member
from broker.namespace import Namespace
from broker.outbox import Outbox
from broker.router import Reach

REMEMBERED_TOPICS = 1000
"""How many topics' ways a connection remembers."""


class Guest(Publisher, Member, Protocol):
    """A connection, as the namespaces see it."""


class Ties:
    """A connection's ways into namespaces, and those that know that it is there.

    Args:
        guest: the connection.
        reach: the namespaces that it may touch.
        outbox: acknowledges what all namespaces have accepted.

    Attributes:
        ways: of topics that it has published to.
    """

    __slots__ = ("_guest", "_ingresses", "_joined", "_outbox", "_reach", "ways")

    def __init__(self, guest: Guest, reach: Reach, outbox: Outbox) -> None:
        self.ways: dict[str, tuple[Namespace, Ingress]] = {}
        self._guest = guest
        self._reach = reach
        self._outbox = outbox
        self._ingresses: dict[Namespace, Ingress] = {}
        self._joined: list[Namespace] = []

    def way(self, topic: str) -> tuple[Namespace, Ingress]:
        """The way in for a topic that is not among the `ways`.

        Raises:
            Rejected: ``bad_topic``, ``unknown_topic``, ``namespace_not_here``.
        """
        namespace = self._reach.publish(topic)
        ingress = self._ingresses.get(namespace)
        if ingress is None:
            ingress = self._ingresses[namespace] = Ingress(self._guest)
            self._outbox.receipts.append(ingress.receipts)
            self._join(namespace)
        if len(self.ways) < REMEMBERED_TOPICS:
            self.ways[topic] = (namespace, ingress)
        return namespace, ingress

    def join(self) -> None:
        """Have a part in all namespaces in reach: it is known who this is."""
        for namespace in self._reach.namespaces:
            self._join(namespace)

    def leave(self) -> None:
        """The connection is gone."""
        for namespace in self._joined:
            namespace.leases.leave(self._guest, self._ingresses.get(namespace))
        self._joined.clear()

    def _join(self, namespace: Namespace) -> None:
        """Have a part in a namespace whose plugin cares who is connected."""
        if namespace.plugin.leases and namespace not in self._joined:
            self._joined.append(namespace)
            namespace.leases.join(self._guest)
