"""The file of a checkpoint, an SQLite database: what pmap reads from it and writes to it.

Other processes see either all of a transaction or nothing of it. In SQLite's WAL mode, what was
committed stays when this process is killed. Only a loss of power may lose the last seconds.
"""

import os
import sqlite3
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from typing import Final, NamedTuple

from .._errors import CheckpointError
from . import processes

# The bytes "pmap". The header of an SQLite file has four bytes that say which program the file is
# for; a checkpoint has these bytes there.
APPLICATION_ID: Final = 0x706D6170
VERSION: Final = 1
CLAIMED, DONE, FAILED = range(3)
# If another process is writing, SQLite waits this many seconds before it raises the error that the
# file is locked.
BUSY: Final = 20.0
# Further SQLite settings for each connection; only tests use them.
SETTINGS: tuple[str, ...] = ()
# This many keys are looked up in one query: older versions of SQLite take at most 999 parameters.
_KEYS: Final = 500

_SCHEMA: Final = """
CREATE TABLE items (
    key BLOB PRIMARY KEY,
    call INTEGER NOT NULL,
    place INTEGER NOT NULL,
    state INTEGER NOT NULL,
    owner INTEGER,
    value BLOB
);
CREATE INDEX items_of_call ON items (call, place);
CREATE TABLE calls (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    verb TEXT NOT NULL,
    name TEXT NOT NULL,
    function BLOB NOT NULL,
    begun REAL NOT NULL
);
CREATE TABLE owners (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    process TEXT NOT NULL,
    beat REAL NOT NULL
);
"""


# For each open connection of this process: the real path of the file, and the number of the owner
# for which the connection claims items.
_owners_here: set[tuple[str, int]] = set()


def _identity(path: str) -> tuple[int, int] | None:
    """Return what distinguishes the file that is at a path now from others; None if there is none.

    An open connection goes on with its file, even if the file is not at its path any more.
    """
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


class Row(NamedTuple):
    """What the file has for an item: an outcome, or the claim of a process that computes it."""

    state: int
    owner: int | None
    value: bytes | None


class Store:
    """One connection to the file; only one thread may use it at a time."""

    def __init__(self, path: str, *, must_exist: bool = False) -> None:
        """Open the file; make it if there is none.

        Raises:
            CheckpointError: the file cannot be opened or made, or is no checkpoint.
        """
        self.path = path
        # The path without symbolic links, by which this process knows the file.
        self.real_path: str = os.path.realpath(path)
        self._owners: set[int] = set()
        if must_exist and not os.path.exists(path):
            raise CheckpointError(path, "does not exist")
        with self._explained("cannot be opened"):
            self._connection = sqlite3.connect(
                path, timeout=BUSY, isolation_level=None, check_same_thread=False
            )
        try:
            with self._explained("cannot be opened"):
                self._prepare()
                self._file = _identity(self.real_path)
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self) -> None:
        run = self._connection.execute
        application, version = self._marks()
        if application != APPLICATION_ID and self._has_tables():
            # Another process may have made the file since the first look, so application id and
            # version are read again.
            application, version = self._marks()
            if application != APPLICATION_ID:
                raise CheckpointError(self.path, "is a database of another program")
        if application == APPLICATION_ID and version != VERSION:
            raise CheckpointError(
                self.path,
                f"was made by another version of pmap (its format is {version}, not {VERSION})",
            )
        # Nothing was written before this line, so a file of another program stays as it is.
        self._write_ahead()
        run("PRAGMA synchronous=NORMAL")
        for setting in SETTINGS:
            run(setting)
        if application == APPLICATION_ID:
            return
        with self._transaction():
            # Another process has made the tables at the same time, which is no error.
            if self._marks()[0] == APPLICATION_ID:
                return
            for statement in _SCHEMA.split(";"):
                run(statement)
            run(f"PRAGMA user_version={VERSION}")
            run(f"PRAGMA application_id={APPLICATION_ID}")

    def _write_ahead(self) -> None:
        """Put the file into SQLite's WAL mode.

        SQLite itself does not wait in this case if another process holds a lock, so this method
        waits.
        """
        until = time.monotonic() + BUSY
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode=WAL")
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > until:
                    raise
            else:
                return
            time.sleep(0.01)

    def _marks(self) -> tuple[int, int]:
        run = self._connection.execute
        (application,) = run("PRAGMA application_id").fetchone()
        (version,) = run("PRAGMA user_version").fetchone()
        return application, version

    def _has_tables(self) -> bool:
        (tables,) = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        return bool(tables)

    def close(self) -> None:
        """Close the connection; the claims that it has made do not count any more."""
        _owners_here.difference_update([(self.real_path, owner) for owner in self._owners])
        with suppress(sqlite3.Error):
            self._connection.close()

    @contextmanager
    def _explained(self, what: str) -> Generator[None]:
        try:
            yield
        except sqlite3.Error as error:
            why = str(error)
            if "locked" in why:
                why = f"another process has locked it for {BUSY:g} s"
            raise CheckpointError(self.path, f"{what}: {why}") from error

    @contextmanager
    def _transaction(self) -> Generator[None]:
        """Run the block as one transaction: other processes see all of its changes, or none."""
        run = self._connection.execute
        run("BEGIN IMMEDIATE")
        try:
            yield
            run("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                run("ROLLBACK")
            raise

    # --- owners: processes that have claimed items ---------------------------------------------

    def add_owner(self) -> int:
        """Register this process as an owner, which may claim items; return the owner's number."""
        with self._explained("cannot be written"), self._transaction():
            run = self._connection.execute
            cursor = run(
                "INSERT INTO owners (process, beat) VALUES (?, ?)",
                (processes.this_process(), time.time()),
            )
            assert cursor.lastrowid is not None
            self._owners.add(cursor.lastrowid)
            _owners_here.add((self.real_path, cursor.lastrowid))
            return cursor.lastrowid

    def _owners_by_life(self) -> tuple[set[int], set[int]]:
        """Return the owners whose processes are alive, so that their claims count; and the rest."""
        living: set[int] = set()
        dead: set[int] = set()
        for number, process, beat in self._connection.execute(
            "SELECT id, process, beat FROM owners"
        ).fetchall():
            if process == processes.this_process():
                lives = (self.real_path, number) in _owners_here
            else:
                lives = processes.is_alive(process, beat)
            (living if lives else dead).add(number)
        return living, dead

    def beat(self, owner: int) -> None:
        """Record a sign of life of an owner's process: it is alive at this moment."""
        with self._explained("cannot be written"):
            self._connection.execute("UPDATE owners SET beat=? WHERE id=?", (time.time(), owner))

    def remove_owner(self, owner: int) -> None:
        """Remove an owner that has no claims any more."""
        with self._explained("cannot be written"):
            self._connection.execute("DELETE FROM owners WHERE id=?", (owner,))

    def add_call(self, verb: str, name: str, function: bytes) -> int:
        """Register a call in the file; return its number."""
        with self._explained("cannot be written"):
            cursor = self._connection.execute(
                "INSERT INTO calls (verb, name, function, begun) VALUES (?, ?, ?, ?)",
                (verb, name, function, time.time()),
            )
            assert cursor.lastrowid is not None
            return cursor.lastrowid

    # --- claims on items, and outcomes of items --------------------------------------------------

    def claim(
        self, places: dict[bytes, int], call: int, owner: int, *, again: bool
    ) -> dict[bytes, Row]:
        """Claim the items that have no outcome and that no living process has claimed.

        Args:
            places: the index of each item, by its key.
            call: the number of the call.
            owner: the number of the process that claims them.
            again: whether to claim items that have failed, too.

        Returns:
            What the file has for the other items: an outcome, or the claim of another call.
        """
        with self._explained("cannot be written"), self._transaction():
            known, dead = self._known(places, again)
            self._connection.executemany(
                "DELETE FROM owners WHERE id=?", [(owner,) for owner in dead]
            )
            self._connection.executemany(
                "INSERT OR REPLACE INTO items (key, call, place, state, owner) VALUES (?,?,?,?,?)",
                [(k, call, at, CLAIMED, owner) for k, at in places.items() if k not in known],
            )
            self._connection.executemany(
                "UPDATE items SET call=?, place=? WHERE key=?",
                [(call, places[k], k) for k, row in known.items() if row.state != CLAIMED],
            )
            return known

    def look(self, keys: Iterable[bytes], *, again: bool) -> dict[bytes, Row]:
        """Return what `claim` would return, and write nothing."""
        with self._explained("cannot be read"):
            return self._known(keys, again)[0]

    def _known(self, keys: Iterable[bytes], again: bool) -> tuple[dict[bytes, Row], set[int]]:
        """Return what the file has for items, but for those that are free; and the dead owners."""
        known = self._rows([*keys])
        living: set[int] = set()
        dead: set[int] = set()
        if any(row.state == CLAIMED for row in known.values()):
            living, dead = self._owners_by_life()
        free = [
            key
            for key, row in known.items()
            if (row.state == CLAIMED and row.owner not in living) or (row.state == FAILED and again)
        ]
        for key in free:
            del known[key]
        return known, dead

    def _rows(self, keys: Sequence[bytes]) -> dict[bytes, Row]:
        found: dict[bytes, Row] = {}
        for start in range(0, len(keys), _KEYS):
            part = keys[start : start + _KEYS]
            marks = ",".join("?" * len(part))
            for key, state, owner, value in self._connection.execute(
                f"SELECT key, state, owner, value FROM items WHERE key IN ({marks})",  # noqa: S608
                part,
            ):
                found[key] = Row(state, owner, value)
        return found

    def write(
        self,
        outcomes: Iterable[tuple[bytes, int, int, int, bytes]],
        given_up: Iterable[tuple[bytes, int]] = (),
    ) -> None:
        """Write outcomes, and give up claims, in one transaction.

        Args:
            outcomes: for each item its key, the number of its call, its index, state and value.
            given_up: the key and the owner of each claim on an item that will have no outcome.

        Raises:
            CheckpointError: the file cannot be written, or it is not at its path any more: then the
                next run would not find what is written.
        """
        with self._explained("cannot be written"), self._transaction():
            self._connection.executemany(
                # The claim is a row of the table. To change this row takes half as long as to
                # replace it by a new row.
                "INSERT INTO items (key, call, place, state, value) VALUES (?,?,?,?,?) "
                "ON CONFLICT (key) DO UPDATE SET call=excluded.call, place=excluded.place, "
                "state=excluded.state, owner=NULL, value=excluded.value",
                outcomes,
            )
            self._connection.executemany(
                "DELETE FROM items WHERE key=? AND owner=? AND state=?",
                [(key, owner, CLAIMED) for key, owner in given_up],
            )
        if _identity(self.real_path) != self._file:
            raise CheckpointError(self.path, "was removed or replaced while a call wrote to it")

    # --- reading the file ------------------------------------------------------------------------

    def count(self, state: int) -> int:
        """Return how many items of all calls have the state `state`, such as done or failed."""
        with self._explained("cannot be read"):
            query = "SELECT count(*) FROM items WHERE state=?"
            (number,) = self._connection.execute(query, (state,)).fetchone()
            return int(number)

    def last_call(self) -> tuple[int, str, str] | None:
        """Return the number, the verb and the function's name of the call that began last.

        Return None if the file has no call.
        """
        with self._explained("cannot be read"):
            query = "SELECT id, verb, name FROM calls ORDER BY id DESC LIMIT 1"
            found: tuple[int, str, str] | None = self._connection.execute(query).fetchone()
            return found

    def of_call(self, call: int, state: int) -> list[tuple[int, bytes]]:
        """Return the items of a call that have the state `state`: the index and value of each."""
        with self._explained("cannot be read"):
            query = "SELECT place, value FROM items WHERE call=? AND state=? ORDER BY place"
            return self._connection.execute(query, (call, state)).fetchall()
