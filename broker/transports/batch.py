"""The publishes of one HTTP request, and their answers."""

import asyncio

from broker.errors import ERRORS
from broker.messages import Error


class Batch:
    """Publishes of one request, until all of them are answered.

    Attributes:
        settled: is set then.
    """

    def __init__(self, first: int, last: int) -> None:
        self.settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._next = first
        self._ids = range(first, last + 1)
        self._errors: dict[int, Error] = {}

    def accept(self, upto: int) -> None:
        """Accepted are all up to this id, but for those that were refused."""
        self._next = max(self._next, upto + 1)
        self._look()

    def refuse(self, error: Error) -> None:
        if isinstance(error.id, int):
            self._errors[error.id] = error
            self._look()

    def give_up(self, code: str, message: str) -> None:
        """Nothing more is going to be answered."""
        for id in range(self._next, self._ids.stop):
            self._errors.setdefault(id, Error(code, message, ERRORS[code].retryable, id))
        self._look()

    @property
    def answers(self) -> list[Error | None]:
        """What each was answered: None where it was accepted."""
        return [self._errors.get(id) for id in self._ids]

    def _look(self) -> None:
        while self._next in self._errors:
            self._next += 1
        if self._next >= self._ids.stop and not self.settled.done():
            self.settled.set_result(None)
