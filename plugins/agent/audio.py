"""Recorded speech, as a worker gets it: where it is, and how to fetch it."""

import asyncio
import ssl
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.error import URLError
from urllib.parse import urljoin

from msgspec import Struct

from plugins.agent.failure import TurnFailed

FETCH_TIMEOUT = 10.0
"""Seconds for which the broker may say nothing while a recording is fetched."""

CHUNK = 64 << 10


class Audio(Struct, frozen=True):
    """What a user said into a microphone.

    Attributes:
        content_type: of the recording, such as ``audio/webm``.
        size: its bytes.
        url: where it is until it was fetched once, whole, or its turn has ended.
        agent_id: the agent that it is for, where it says so.
    """

    session_id: str
    message_id: str
    content_type: str
    size: int
    url: str
    agent_id: str | None
    body: Mapping[str, Any]

    @classmethod
    def of(cls, body: Mapping[str, Any], broker: str) -> "Audio":
        """That of a `userAudio` body; `broker` is the URL that its worker is connected to."""
        origin = broker.replace("ws", "http", 1)
        return cls(
            body["sessionId"],
            body["messageId"],
            body["contentType"],
            body["size"],
            urljoin(origin, body["url"]),
            body.get("agentId"),
            body,
        )

    async def read(self, tls: ssl.SSLContext | None = None) -> bytes:
        """The recording. It can be read once, unless that fails.

        Args:
            tls: for ``https``, when the default context will not do.

        Raises:
            TurnFailed: ``audio_lost``: it is not there any more, or cannot be fetched.
        """
        return await asyncio.to_thread(self._read, tls)

    def _read(self, tls: ssl.SSLContext | None) -> bytes:
        parts: list[bytes] = []
        left = self.size
        try:
            with urllib.request.urlopen(self.url, timeout=FETCH_TIMEOUT, context=tls) as answer:
                while left > 0 and (part := answer.read(min(left, CHUNK))):
                    parts.append(part)
                    left -= len(part)
        except (URLError, OSError) as error:
            raise TurnFailed(
                "audio_lost", f"the recording could not be fetched: {error}", retryable=True
            ) from error
        if left:
            raise TurnFailed("audio_lost", f"{left} bytes of it are missing", retryable=True)
        return b"".join(parts)
