"""What a socket may hold that it has not sent: next to nothing.

What is not under way belongs into the outbox, where it can be merged and overtaken. This is
for peers that tell nobody what has arrived, by pongs: where they do, `flow` knows better.
"""

import asyncio
import contextlib
import socket

UNSENT_BYTES = 16 << 10


def hold_little(transport: asyncio.Transport) -> None:
    """From now on, let the transport and its socket hold little that is not sent."""
    if transport.is_closing():
        return
    # A mark of 0 would stall for ever under TLS.
    transport.set_write_buffer_limits(high=1, low=0)
    sock = transport.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):  # it is gone, and we are about to be told
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
