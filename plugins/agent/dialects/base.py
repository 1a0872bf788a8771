"""What a dialect is: how one chat front end asks, and how it reads the answer.

A dialect is pure: it knows nothing of connections, tasks or clocks. The gateway gives it
a request that was read (`Dialect.ask`), and then the events of one turn (`Dialect.encoder`).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from msgspec import Struct

from plugins.agent.dialects.asking import Ask, Incoming
from plugins.agent.dialects.encoder import Encoder


class Dialect(ABC):
    """One front end's way to chat. There is one of each, without state.

    Its events have the lines that its front end reads, and no others: no ``id:``.

    Attributes:
        name: what its options are called, and, behind a slash, its default prefix.
        title: what people call it.
        paths: of its POST below the prefix, in Starlette's form.
        voice: of its POST of recorded speech (multipart).
        cancel_on_disconnect: whether a reader that goes away stops the turn, by default.
        asks, aloud: what it posts, as text and as a form with speech.
        query: parameters that may stand in the query instead.
        tells: its kinds of events, as `Endpoint` has them.
        document: its JSON answer, where there is one.
        example: something to post.
        lingers: seconds for which the turn is followed beyond its closing event, where the
            encoder has not `ended` with it; then `Encoder.closed`.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    paths: ClassVar[tuple[str, ...]]
    voice: ClassVar[tuple[str, ...]] = ()
    asks: ClassVar[type[Struct]]
    aloud: ClassVar[type[Struct] | None] = None
    query: ClassVar[type[Struct] | None] = None
    tells: ClassVar[tuple[Any, ...]]
    document: ClassVar[type[Struct] | None] = None
    example: ClassVar[Mapping[str, Any]]
    cancel_on_disconnect: ClassVar[bool] = False
    lingers: ClassVar[float] = 0.0

    @abstractmethod
    def ask(self, incoming: Incoming) -> Ask:
        """What a request asks.

        Raises:
            Unfit: a field is missing or of the wrong kind.
        """

    def hear(self, incoming: Incoming) -> Ask:
        """The same of recorded speech, without its text; the body are the form's other fields.
        Only for one that has paths for `voice`.

        Raises:
            Unfit: likewise.
        """
        raise TypeError(f"{self.name} hears nothing")

    @abstractmethod
    def encoder(self, ask: Ask) -> Encoder:
        """The way out for the turn that answers `ask`."""
