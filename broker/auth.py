"""Who a connection is, and what it may do.

A principal is asked on every publish and subscribe, so that permission is part
of the path and not of a gateway before it. Without tokens there is one
principal, the anonymous one, who may do everything and is let in from this
machine only, unless the configuration says `everyone`.
"""

import ipaddress
from dataclasses import dataclass
from typing import Literal

from broker.errors import Closed

Operation = Literal["publish", "subscribe"]


@dataclass(frozen=True, slots=True)
class Principal:
    """Who acts. `name` is unique; it is part of an owner's identity across reconnects."""

    name: str

    def may(self, operation: Operation, topic: str, key: str | None) -> bool:
        """Whether this principal may do `operation` on `topic` (or pattern) and `key`.

        `key` is None where a subscription asks for every key.
        """
        return True


ANONYMOUS = Principal("anonymous")


class Authenticator:
    """Turns what a connection brings into a principal.

    Args:
        anonymous: from where peers are let in without a token.
    """

    def __init__(self, anonymous: Literal["loopback", "everyone"]) -> None:
        self._everyone = anonymous == "everyone"

    def admit(self, peer: str) -> Principal:
        """The principal of a connection from the address `peer`.

        Raises:
            Closed: 4001, nobody is let in from there without a token.
        """
        if self._everyone or is_loopback(peer):
            return ANONYMOUS
        raise Closed(4001, "a token is required from this address")


def is_loopback(host: str) -> bool:
    """Whether `host`, an address or a name, is this machine itself."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
