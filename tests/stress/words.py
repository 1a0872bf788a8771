"""What agents say: the same words for the same turn, whoever says them, and again."""

from zlib import crc32

_PLAIN = ("a", " the", " broker", ", and", " tokens", ".\n\n", " 42", "`code`", "### ", " is")
_ODD = ('"', "\\", "\t", "é", " naïve", "日本", "🌊", "\u2028", "</p>", "\x00", " ", "{}")
WORDS = tuple(f"{plain}{odd}"[: 1 + number % 9] for number, plain in enumerate(_PLAIN * 3)
              for odd in _ODD)  # fmt: skip


def word(turn: str, index: int) -> str:
    """The text of one token."""
    return WORDS[(crc32(turn.encode()) + index * 7919) % len(WORDS)]


def text(turn: str, count: int) -> str:
    """The first `count` tokens of a turn."""
    start = crc32(turn.encode())
    return "".join([WORDS[(start + index * 7919) % len(WORDS)] for index in range(count)])
