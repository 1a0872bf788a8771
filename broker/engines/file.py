"""The file of a durable namespace, an SQLite database: opened in good order, or not at all."""

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import structlog

from broker.config import Storage
from broker.engines import wal
from broker.engines.witness import Witness
from broker.errors import EdgestreamError

log = structlog.get_logger(__name__)

APPLICATION = 0x65646765
VERSION = 2

_SCHEMA = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS commits (
    last INTEGER PRIMARY KEY,  -- the position of its last event
    sum INTEGER NOT NULL,      -- of `events`
    events BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS streams (
    key TEXT PRIMARY KEY,
    position INTEGER NOT NULL, -- what is behind this is in the commits
    sum INTEGER NOT NULL,
    events BLOB NOT NULL       -- what is retained up to there
);
CREATE TABLE IF NOT EXISTS states (
    key TEXT PRIMARY KEY,      -- of a stream of which something is not retained any more
    sum INTEGER NOT NULL,
    events BLOB NOT NULL       -- what it had come to
);
"""


class Broken(EdgestreamError):
    """The file cannot be used: why."""


class _Named:
    """Makes what SQLite raises `Broken`, with the file's name. A generator would be
    shorter, and each commit is made inside of this."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, sqlite3.Error | OSError | msgspec.DecodeError):
            busy = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
            why = "another process has it open" if busy else _why(error)
            raise Broken(f"{self._name} cannot be used: {why}") from error


class File:
    """A connection to it, while it is open. Used by one thread at a time; errors are `Broken`.

    Attributes:
        name: its path.
        named: what SQLite raises inside of this is `Broken`, with that name.
        epoch: names the numbering of the positions in it.
        last: the position of the last event that was ever stored.
    """

    def __init__(self, storage: Storage) -> None:
        self.name = storage.file
        self.named = _Named(storage.file)
        self.epoch = ""
        self.last = 0
        self._boot = ""
        self._sync = storage.sync
        self._connection: sqlite3.Connection | None = None
        self._witness: Witness | None = None

    def open(self) -> None:
        """Open the file, or make it; nobody else can open it until it is closed.

        Raises:
            Broken: it cannot be used.
        """
        with self.named:
            self._boot = _boot()
            self._witness = Witness(Path(self.name + "-last"))
            try:
                self._check_log()
                self._connection = sqlite3.connect(
                    self.name, isolation_level=None, check_same_thread=False, timeout=1
                )
                self._prepare(self._connection)
            except BaseException:
                self.release()
                raise

    def _check_log(self) -> None:
        """See that SQLite will not leave out what was stored: afterwards it is too late.

        Only in the life of the machine in which it was written: at a loss of power some of it
        may be there, and other parts from before it may not.
        """
        if self._boot and self._known.boot == self._boot:
            name = self.name + "-wal"
            at = wal.damaged(Path(name))
            if at is not None:
                raise Broken(
                    f"{self.name} is damaged: its log cannot be read from byte {at} on; restore "
                    f"it, or go on without what was stored there: truncate -s {at} {name}"
                )

    def _prepare(self, connection: sqlite3.Connection) -> None:
        def ask(statement: str) -> int | str:
            answer: int | str = connection.execute(statement).fetchone()[0]
            return answer

        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        tables = ask("SELECT count(*) FROM sqlite_schema")
        if tables and ask("PRAGMA application_id") != APPLICATION:
            raise Broken(f"{self.name} is another program's database")
        if tables and ask("PRAGMA user_version") != VERSION:
            raise Broken(f"{self.name} was made by another version of edgestream")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        if ask("PRAGMA journal_mode = WAL") != "wal":
            raise Broken(f"{self.name}: there is no write-ahead log on this file system")
        connection.execute("PRAGMA journal_size_limit = 16777216")
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript(
            f"BEGIN; PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION};"
            f"{_SCHEMA} COMMIT;"
        )
        about = dict(connection.execute("SELECT name, value FROM about").fetchall())
        last = ask("SELECT coalesce(max(last), 0) FROM commits")
        assert isinstance(last, int)
        opened_anew = not self.epoch
        if opened_anew:
            self.epoch = _epoch(about, self._boot, whole=self._is_whole(last))
        self._tell(connection, epoch=self.epoch, boot=self._boot, sync=self._sync, state="open")
        if opened_anew:
            self._known.begin(last, self._boot)
        self.last = last
        if self._sync == "normal":
            connection.execute("PRAGMA synchronous = NORMAL")

    def _is_whole(self, last: int) -> bool:
        """Whether the file goes as far as it did."""
        known = self._known.last
        if last < known:
            log.warning("events lost", file=self.name, last=last, stored=known)
        return last >= known

    def stored(self, last: int) -> None:
        """Everything up to a position is stored, and nothing behind it counts."""
        self.last = last
        self._known.last = last

    def close(self) -> None:
        """Close the file in good order, if it is open."""
        if self._connection is not None:
            try:
                with self.named:
                    self._connection.execute("PRAGMA synchronous = FULL")
                    self._tell(self._connection, state="closed")
            finally:
                self.release()

    def release(self) -> None:
        """Close the file as if the process had been killed."""
        connection, self._connection = self._connection, None
        witness, self._witness = self._witness, None
        try:
            if connection is not None:
                with self.named:
                    connection.close()
        finally:
            if witness is not None:
                witness.close()

    @property
    def _known(self) -> Witness:
        if self._witness is None:
            raise Broken(f"{self.name} is closed")
        return self._witness

    @property
    def connection(self) -> sqlite3.Connection:
        if self._connection is None:
            raise Broken(f"{self.name} is closed")
        return self._connection

    @contextmanager
    def whole(self) -> Iterator[sqlite3.Connection]:
        """What is executed in this is done as a whole, or not at all."""
        with self.named:
            connection = self.connection
            connection.execute("BEGIN")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                connection.rollback()
                raise

    @property
    def bytes(self) -> tuple[int, int]:
        """How large it is, and its log."""
        sizes = []
        for name in (self.name, self.name + "-wal"):
            try:
                sizes.append(Path(name).stat().st_size)
            except FileNotFoundError:
                sizes.append(0)
        return sizes[0], sizes[1]

    @staticmethod
    def _tell(connection: sqlite3.Connection, **about: str) -> None:
        values = ", ".join(["(?, ?)"] * len(about))
        parameters = [word for pair in about.items() for word in pair]
        connection.execute(f"INSERT OR REPLACE INTO about VALUES {values}", parameters)


def check(storage: Storage) -> None:
    """Find out whether a file may be used, as far as that can be told without opening it.

    Raises:
        Broken: it may not.
    """
    path = Path(storage.file)
    try:
        if not path.parent.is_dir():
            raise Broken(f"{path}: there is no folder {path.parent}")
        if path.exists():
            with path.open("r+b") as file:
                head = file.read(16)
            if head and head != b"SQLite format 3\0":
                raise Broken(f"{path} is no SQLite database")
    except OSError as error:
        raise Broken(f"{path} cannot be used: {error.strerror}") from None


def _boot() -> str:
    """Names the time since this machine was started; "" where it has no name."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


def _why(error: Exception) -> str:
    """What is wrong, without what only its program's maker wants to know."""
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def _epoch(about: dict[str, str], boot: str, *, whole: bool) -> str:
    """The epoch of a file: its own, unless the end of it is lost, or may be.

    Then positions that readers know may be given again, and must not be taken for them.
    """
    epoch = about.get("epoch", "")
    safe = about.get("state") == "closed" or about.get("sync") == "full"
    same_boot = boot != "" and about.get("boot") == boot
    return epoch if epoch and whole and (safe or same_boot) else secrets.token_hex(4)
