"""Every connection of the broker, and what they share."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from msgspec import UNSET, UnsetType

from broker.auth import Principal
from broker.config import Config
from broker.errors import ErrorInfo, Rejected
from broker.event import Sender
from broker.messages import Error, Limits, Welcome
from broker.namespace import Namespace
from broker.outbox import Outbox
from broker.reader import Reader
from broker.scheduler import Scheduler


class Connected(Protocol):
    """One connection, as the broker sees all of them (`broker.session.Session`)."""

    @property
    def server(self) -> str | None: ...

    @property
    def principal(self) -> Principal: ...

    @property
    def sender(self) -> Sender: ...

    @property
    def outbox(self) -> Outbox: ...

    @property
    def reader(self) -> Reader: ...

    def end(self, code: int, reason: str = "") -> None:
        """Say goodbye, and close."""


@dataclass(slots=True)
class Sessions:
    """Every connection of the broker, and what they share.

    Attributes:
        errors: how many of each error code were sent.
        opened: how many connections there ever were.
    """

    config: Config
    scheduler: Scheduler
    codes: Mapping[str, ErrorInfo]
    live: set[Connected] = field(default_factory=set)
    errors: Counter[str] = field(default_factory=Counter)
    opened: int = 0
    _identities: dict[tuple[str | None, str, str], Connected] = field(default_factory=dict)

    @property
    def gone(self) -> int:
        """How many of them have gone."""
        return self.opened - len(self.live)

    def welcome(self, session: Connected, namespaces: Sequence[Namespace]) -> Welcome:
        """The first message to a connection that reaches these namespaces."""
        limits = self.config.limits
        return Welcome(
            connection=session.sender.connection,
            namespaces=[namespace.name for namespace in namespaces],
            heartbeatMs=round(self.config.heartbeat.interval * 1000),
            limits=Limits(
                maxMessageBytes=limits.max_message_bytes,
                maxSubscriptions=limits.max_subscriptions,
                maxBodyBytes={n.name: n.settings.max_body_bytes for n in namespaces},
            ),
            server=UNSET if session.server is None else session.server,
        )

    def refusal(self, error: Rejected, id: int | UnsetType, topic: str | UnsetType) -> Error:
        """The answer to an operation that is refused; it counts."""
        self.errors[error.code] += 1
        retryable = self.codes[error.code].retryable
        detail = UNSET if error.detail is None else dict(error.detail)
        return Error(error.code, error.message, retryable, id, topic, detail)

    def identify(self, session: Connected, client: str) -> None:
        """`session` is from now on the one of its client; an older one ends with 4010."""
        identity = (session.server, session.principal.name, client)
        older = self._identities.get(identity)
        self._identities[identity] = session
        if older is not None and older is not session:
            older.end(4010)

    def forget(self, session: Connected) -> None:
        self.live.discard(session)
        client = session.sender.client
        if client is not None:
            identity = (session.server, session.principal.name, client)
            if self._identities.get(identity) is session:
                del self._identities[identity]
