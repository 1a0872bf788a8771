"""The index of subscriptions: which readers an event has.

Two steps, so that the cost of an event does not grow with the number of other
streams. A topic's patterns come from a trie and are remembered; each pattern
then has the readers of every key, and those of one key in a dict.
"""

from collections.abc import Collection, Iterable
from typing import Generic, TypeVar

from broker.topics import is_wild

Reader = TypeVar("Reader")

REMEMBERED_TOPICS = 10_000
"""How many topics' patterns are remembered before the memory is started anew."""


class _Pattern(Generic[Reader]):
    """One pattern in use: its readers of every key, and its readers of one key."""

    __slots__ = ("every_key", "one_key", "pattern")

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.every_key: dict[Reader, int] = {}
        self.one_key: dict[str, dict[Reader, int]] = {}

    def readers(self, key: str) -> Collection[Reader]:
        one = self.one_key.get(key)
        if not self.every_key:
            return one or ()
        return self.every_key if not one else self.every_key | one


class _Level(Generic[Reader]):
    """A node of the trie: what may follow the levels that led here."""

    __slots__ = ("children", "here", "rest")

    def __init__(self) -> None:
        self.children: dict[str, _Level[Reader]] = {}
        self.here: _Pattern[Reader] | None = None  # the pattern that ends here
        self.rest: _Pattern[Reader] | None = None  # the one that ends here with ">"


class Subscriptions(Generic[Reader]):
    """Readers by (pattern, key). A reader counts once, however often it is added.

    `Reader` is anything hashable; the broker uses a connection's queue.
    """

    def __init__(self) -> None:
        self._root: _Level[Reader] = _Level()
        self._by_topic: dict[str, tuple[_Pattern[Reader], ...]] = {}

    def add(self, pattern: str, key: str | None, reader: Reader) -> None:
        """Let `reader` have the events of `pattern`, of one key or (None) of all."""
        entry = self._entry(pattern)
        readers = entry.every_key if key is None else entry.one_key.setdefault(key, {})
        readers[reader] = readers.get(reader, 0) + 1

    def remove(self, pattern: str, key: str | None, reader: Reader) -> None:
        """Undo one `add`.

        Raises:
            KeyError: there was no such `add`.
        """
        entry = self._entry(pattern)
        readers = entry.every_key if key is None else entry.one_key[key]
        readers[reader] -= 1
        if readers[reader]:
            return
        del readers[reader]
        if not readers and key is not None:
            del entry.one_key[key]
        if not entry.every_key and not entry.one_key:
            self._forget(pattern)

    def readers(self, topic: str, key: str) -> Collection[Reader]:
        """Every reader of an event, each once."""
        patterns = self._by_topic.get(topic)
        if patterns is None:
            patterns = self._patterns(topic)
        if len(patterns) == 1:
            return patterns[0].readers(key)
        found: dict[Reader, None] = {}
        for pattern in patterns:
            found.update(dict.fromkeys(pattern.readers(key)))
        return found

    def _patterns(self, topic: str) -> tuple[_Pattern[Reader], ...]:
        if len(self._by_topic) >= REMEMBERED_TOPICS:
            self._by_topic.clear()
        patterns = tuple(_walk(self._root, topic.split("."), 0))
        self._by_topic[topic] = patterns
        return patterns

    def _entry(self, pattern: str) -> _Pattern[Reader]:
        """The pattern's entry in the trie, made if it is not there."""
        levels = pattern.split(".")
        rest = levels[-1] == ">"
        node = self._root
        for level in levels[:-1] if rest else levels:
            node = node.children.setdefault(level, _Level())
        entry = node.rest if rest else node.here
        if entry is None:
            entry = _Pattern(pattern)
            if rest:
                node.rest = entry
            else:
                node.here = entry
            self._patterns_changed(pattern)
        return entry

    def _forget(self, pattern: str) -> None:
        """Take an unused pattern out of the trie, and every level that led to it alone."""
        levels = pattern.split(".")
        path = [self._root]
        for level in levels[:-1] if levels[-1] == ">" else levels:
            path.append(path[-1].children[level])
        if levels[-1] == ">":
            path[-1].rest = None
        else:
            path[-1].here = None
        for depth in range(len(path) - 1, 0, -1):
            node = path[depth]
            if node.children or node.here or node.rest:
                break
            del path[depth - 1].children[levels[depth - 1]]
        self._patterns_changed(pattern)

    def _patterns_changed(self, pattern: str) -> None:
        if is_wild(pattern):
            self._by_topic.clear()
        else:
            self._by_topic.pop(pattern, None)


def _walk(node: _Level[Reader], levels: list[str], depth: int) -> Iterable[_Pattern[Reader]]:
    """Every pattern below `node` that matches the levels from `depth` on."""
    if depth == len(levels):
        if node.here is not None:
            yield node.here
        return
    if node.rest is not None:
        yield node.rest
    for level in (levels[depth], "*"):
        child = node.children.get(level)
        if child is not None:
            yield from _walk(child, levels, depth + 1)
