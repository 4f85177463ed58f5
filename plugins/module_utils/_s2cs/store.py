# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The session store: one SQLite database, the only place where it is written who has which port.

Port allocation is a transaction with a uniqueness constraint, so any number of control nodes can act at once.

Its journal keeps its size, and has room for a transaction from the start, so that a session can be released on a full
disk. A row that cannot be read concerns its session alone.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Iterator

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs import store_files
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import (
    RowError,
    StoreError,
    UnusableStoreError,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.limits import Limits
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.ports import PortChooser
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session import Session, from_json
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session_locks import SessionLocks
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.store_errors import (
    BUSY_SECONDS,
    damaged_store,
    sqlite_error,
    version_mismatch,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.layout import make_directory

_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS session (
    uid TEXT NOT NULL, role TEXT NOT NULL, document TEXT NOT NULL, PRIMARY KEY (uid, role)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS port (
    address TEXT NOT NULL, port INTEGER NOT NULL, uid TEXT NOT NULL, role TEXT NOT NULL,
    PRIMARY KEY (address, port), FOREIGN KEY (uid, role) REFERENCES session ON DELETE CASCADE
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS last_port (address TEXT PRIMARY KEY, port INTEGER NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class UnreadableRow:
    """A row of the store that this version of the collection cannot read."""

    uid: str
    role: str
    why: str


class Store:
    """The sessions and ports of one S2CS.

    Args:
        directory: The state directory; it is made when the first session is.
        read_only: Never make or change anything (check mode, s2cs_info).
    """

    def __init__(self, directory: str, read_only: bool = False) -> None:
        self._directory = directory
        self._read_only = read_only
        self._path = os.path.join(directory, "s2cs.db")
        self.locks = SessionLocks(os.path.join(directory, "lock"))
        # Filled by ``all``.
        self.unreadable: list[UnreadableRow] = []
        self._database = self._open()

    def _open(self) -> sqlite3.Connection:
        self._check_file()
        try:
            if self._read_only:
                # Where this user may write, SQLite can clean up after a writer that died in the middle.
                mode = "rw" if os.access(self._path, os.W_OK) else "ro"
                if os.path.exists(self._path):
                    database = _configured(f"file:{_uri(self._path)}?mode={mode}", uri=True)
                    if self._version(database):
                        return database
                    database.close()
                # There is none, or the first call that wanted to make one was killed before it did.
                return _empty()
            make_directory(self._directory)
            # Made here rather than by SQLite, so that it never exists with another mode.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self.locks.open()
            database = _configured(self._path)
            database.execute("PRAGMA journal_mode = PERSIST")
            if not self._version(database):
                database.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}PRAGMA user_version = {_SCHEMA_VERSION};COMMIT;")
            store_files.allocate_journal(self._path, database, _SCHEMA_VERSION)
            return database
        except OSError as error:
            raise StoreError(
                f"the session store {self._path} cannot be opened: {error.strerror}; run this as the user who owns it, "
                "or run the role scistream.gateway.s2cs"
            ) from None
        except sqlite3.Error as error:
            raise sqlite_error(self._path, "opened", error) from None

    def _check_file(self) -> None:
        """Refuse what is in the place of the database and is none, before it is opened: that can take forever."""
        try:
            what = store_files.file_type(os.lstat(self._path).st_mode)
        except OSError:
            what = ""
        if what:
            raise damaged_store(self._path, f"it is {what}")
        writes = not self._read_only or os.access(self._path, os.W_OK)
        store_files.check_files(self._path, self.locks.path, writes)

    def _version(self, database: sqlite3.Connection) -> int:
        """Return the version of a store, 0 for an empty one; refuse those of other versions of the collection."""
        version = int(database.execute("PRAGMA user_version").fetchone()[0])
        if version not in (0, _SCHEMA_VERSION):
            known = set()
            # What another version keeps nobody knows; whose sessions they are can be told, if anything.
            with suppress(sqlite3.Error):
                known = {(str(uid), str(role)) for uid, role in database.execute("SELECT uid, role FROM session")}
            raise version_mismatch(self._path, version, _SCHEMA_VERSION, known)
        return version

    def close(self) -> None:
        """Close the database, which ends the locks too."""
        self._database.close()
        self.locks.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Do several things at once or not at all."""
        try:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                # SQLite itself has rolled back already after some errors, a full disk among them.
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise sqlite_error(self._path, "written", error) from None

    def get(self, uid: str, role: str) -> Session | None:
        """Return a session, or None.

        Raises:
            RowError: Its row cannot be read.
        """
        row = self._read("SELECT document FROM session WHERE uid = ? AND role = ?", uid, role)
        if not row:
            return None
        try:
            return _session(uid, role, row[0][0])
        except ValueError as error:
            raise RowError(uid, role, str(error)) from None

    def all(self, uid: str | None = None) -> list[Session]:
        """Return all sessions, or those of one stream; ``unreadable`` has the rows that cannot be read."""
        where, values = ("WHERE uid = ?", [uid]) if uid else ("", [])
        found: list[Session] = []
        self.unreadable = []
        for key, role, document in self._read(f"SELECT uid, role, document FROM session {where}", *values):
            try:
                found.append(_session(key, role, document))
            except ValueError as error:
                self.unreadable.append(UnreadableRow(str(key), str(role), str(error)))
        return found

    def keys(self) -> set[tuple[str, str]]:
        """Return uid and role of all sessions, whether their rows can be read or not."""
        return {(str(uid), str(role)) for uid, role in self._read("SELECT uid, role FROM session")}

    def ports(self, address: str) -> list[int]:
        """Return the ports of an address that belong to sessions."""
        return [row[0] for row in self._read("SELECT port FROM port WHERE address = ?", address)]

    def addresses(self) -> list[str]:
        """Return the addresses at which sessions have ports, those of a policy of before too."""
        return [row[0] for row in self._read("SELECT DISTINCT address FROM port")]

    def choose(self, address: str, count: int, chooser: PortChooser) -> list[int]:
        """Return ports for a session without taking them."""
        last = self._read("SELECT port FROM last_port WHERE address = ?", address)
        taken = set(self.ports(address))
        return chooser(sorted(taken), last[0][0] if last else 0)[:count]

    def reserve(self, session: Session, address: str, chooser: PortChooser, limits: Limits) -> Session:
        """Write a new session with ports of its own, all or nothing.

        Args:
            session: The session, without listeners.
            address: The address of its listeners.
            chooser: Returns ``num_conn`` free ports, from those that are taken and the one that was given out last.
            limits: The limits of the policy, which no other request can exceed meanwhile.
        """
        with self.transaction() as database:
            limits.check(session, self.all())
            ports = self.choose(address, session.num_conn, chooser)
            host = f"[{address}]" if ":" in address else address
            session = session.replace(listeners=[f"{host}:{port}" for port in ports])
            database.execute("INSERT INTO session VALUES (?, ?, ?)", (session.uid, session.role, session.to_json()))
            database.executemany(
                "INSERT INTO port VALUES (?, ?, ?, ?)", [(address, port, session.uid, session.role) for port in ports]
            )
            database.execute("INSERT OR REPLACE INTO last_port VALUES (?, ?)", (address, ports[-1]))
        return session

    def save(self, session: Session) -> None:
        """Write a session that exists."""
        with self.transaction() as database:
            database.execute(
                "UPDATE session SET document = ? WHERE uid = ? AND role = ?",
                (session.to_json(), session.uid, session.role),
            )

    def delete(self, uid: str, role: str) -> None:
        """Forget a session and release its ports."""
        with self.transaction() as database:
            database.execute("DELETE FROM session WHERE uid = ? AND role = ?", (uid, role))

    def _read(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        try:
            return self._database.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise sqlite_error(self._path, "read", error) from None


class UnusableStore(Store):
    """An empty store in place of one that cannot be used. It changes no files, and locks sessions if it can.

    Args:
        directory: The state directory.
        error: Why the store cannot be used.
    """

    def __init__(self, directory: str, error: UnusableStoreError) -> None:
        self.error = error
        super().__init__(directory, read_only=True)

    def _open(self) -> sqlite3.Connection:
        self.locks.open_if_possible()
        return _empty()

    def get(self, uid: str, role: str) -> Session | None:
        """Refuse, because nothing is known about any session.

        Raises:
            UnusableStoreError: Always.
        """
        raise self.error


def _empty() -> sqlite3.Connection:
    """Return an empty database in memory."""
    database = _configured(":memory:")
    database.executescript(_SCHEMA)
    return database


def _configured(path: str, uri: bool = False) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, uri=uri)
    # A text that is none makes its row unreadable, and no other.
    database.text_factory = lambda data: data.decode("utf-8", "replace")
    database.execute("PRAGMA foreign_keys = ON")
    # Nothing of a transaction goes to another disk, which may be full as well.
    database.execute("PRAGMA temp_store = MEMORY")
    return database


def _session(uid: Any, role: Any, document: Any) -> Session:
    """Return the session of a row.

    Raises:
        ValueError: It cannot be read, or is that of another one.
    """
    session = from_json(document)
    if (session.uid, session.role) != (uid, role):
        raise ValueError("it belongs to another session")
    return session


def _uri(path: str) -> str:
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
