"""What all connections of the one port share, and how one is let in."""

from collections import Counter
from dataclasses import dataclass, field

from broker.auth import Authenticator
from broker.clock import Clock
from broker.codec import Codec
from broker.config import Config
from broker.outbox import Wire
from broker.router import Router
from broker.scheduler import Scheduler
from broker.session import Session
from broker.sessions import Sessions
from broker.transports.handshake import Target
from broker.transports.heartbeat import Heartbeat


@dataclass(slots=True)
class Port:
    """The broker, as a transport sees it.

    Attributes:
        beats: the same as `heartbeat` for responses that stream, which have to say something
            more often: what lies between may end them otherwise.
        refused: how many connections were refused or failed with each close code.
        stopping: nobody is let in any more.
    """

    config: Config
    clock: Clock
    scheduler: Scheduler
    heartbeat: Heartbeat
    beats: Heartbeat
    router: Router
    sessions: Sessions
    authenticator: Authenticator
    refused: Counter[int] = field(default_factory=Counter)
    stopping: bool = False

    def admit(self, wire: Wire, codec: Codec, wanted: Target, peer: str) -> Session:
        """A session for a connection that has shaken hands.

        Raises:
            Closed: 4001 not authenticated, 4004 unknown server, 4009 bad identity.
        """
        reach = self.router.reach(wanted.server)
        principal = self.authenticator.admit(peer)
        return Session(
            self.sessions,
            wire,
            codec,
            wanted.server,
            reach,
            principal,
            wanted.client,
            wanted.beside,
        )
