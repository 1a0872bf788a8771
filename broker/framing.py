"""Server-sent events as bytes."""

from typing import Final

LF: Final = 10
CR: Final = 13
"""As numbers they are found several times faster."""


def frame(data: bytes, event: str = "", id: str = "") -> bytes:
    """One event: its id and its name where there are any, and its data.

    Its lines end with LF alone. `data` may have line breaks of any kind: its reader sees ``\\n``.
    """
    if LF in data or CR in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\ndata: ")
    if event:
        data = b"%b\ndata: %b" % (event.encode(), data)
        head = b"event: "
    else:
        head = b"data: "
    if id:
        return b"id: %b\n%b%b\n\n" % (id.encode(), head, data)
    return b"%b%b\n\n" % (head, data)
