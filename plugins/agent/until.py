"""A stream that ends when something is asked."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable
from typing import TypeVar

T = TypeVar("T")


class _End:
    """What comes behind the last item of a stream."""


END = _End()


async def until(asked: asyncio.Event, source: AsyncIterable[T]) -> AsyncGenerator[T, None]:
    """What `source` gives until `asked` is set. Then it is closed."""
    waiting = asyncio.ensure_future(asked.wait())
    given = aiter(source)
    following: asyncio.Future[T | _End] | None = None
    try:
        while not asked.is_set():
            following = asyncio.ensure_future(anext(given, END))
            await asyncio.wait({following, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if not following.done():
                return
            item = following.result()
            if isinstance(item, _End):
                return
            yield item
    finally:
        waiting.cancel()
        if following is not None and not following.done():  # or it could not be closed
            following.cancel()
            await asyncio.wait({following})
        if isinstance(given, AsyncGenerator):
            await given.aclose()
