# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The session store: one SQLite database, the only place where it is written who has which port.

Port allocation is a transaction with a uniqueness constraint, so any number of control nodes can act at once. A lock
for each session, held while an action goes on, keeps two actions on the same session apart; it ends with its process,
so a crash leaves no lock behind.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sqlite3
from contextlib import contextmanager
from typing import Any, Iterable, Iterator

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import StoreError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.limits import Limits
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.ports import Choose
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session import Session, from_json
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.site import make_directory

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
# Long enough for any number of writers in line, each of which needs a few milliseconds.
_BUSY_SECONDS = 60


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
        self._lock_file: int | None = None
        self._database = self._open()

    def _open(self) -> sqlite3.Connection:
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
                database = _configured(":memory:")
                database.executescript(_SCHEMA)
                return database
            make_directory(self._directory, 0o711)
            # Made here rather than by SQLite, so that it never exists with another mode.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._lock_file = os.open(
                os.path.join(self._directory, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
            database = _configured(self._path)
            if not self._version(database):
                database.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}PRAGMA user_version = {_SCHEMA_VERSION};COMMIT;")
            return database
        except (OSError, sqlite3.Error) as error:
            raise StoreError(
                f"the session store {self._path} cannot be opened: {error}; run as the user that owns it, "
                "or run the role scistream.gateway.s2cs"
            ) from None

    def _version(self, database: sqlite3.Connection) -> int:
        """Return the version of a store, 0 for an empty one; refuse those of other versions of the collection."""
        version = int(database.execute("PRAGMA user_version").fetchone()[0])
        if version not in (0, _SCHEMA_VERSION):
            raise StoreError(
                f"the session store {self._path} has version {version}, and this version of the collection knows "
                f"{_SCHEMA_VERSION}: use the version that made it, or release all sessions with that and remove it"
            )
        return version

    def close(self) -> None:
        """Close the database, which ends the locks too."""
        self._database.close()
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Do several things at once or not at all."""
        try:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            raise StoreError(f"the session store {self._path} cannot be written: {error}") from None

    @contextmanager
    def locked(self, keys: Iterable[tuple[str, str]], wait: bool = True) -> Iterator[bool]:
        """Hold the locks of sessions, in one order for everybody; yields False if others hold one and wait is off."""
        if self._lock_file is None:
            yield True
            return
        held: list[int] = []
        try:
            complete = True
            for position in sorted({_position(uid, role) for uid, role in keys}):
                try:
                    fcntl.lockf(self._lock_file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), 1, position)
                except BlockingIOError:
                    complete = False
                    break
                held.append(position)
            yield complete
        finally:
            for position in held:
                fcntl.lockf(self._lock_file, fcntl.LOCK_UN, 1, position)

    def get(self, uid: str, role: str) -> Session | None:
        """Return a session, or None."""
        row = self._read("SELECT document FROM session WHERE uid = ? AND role = ?", uid, role)
        return from_json(row[0][0]) if row else None

    def all(self, uid: str | None = None) -> list[Session]:
        """Return all sessions, or those of one stream."""
        where, values = ("WHERE uid = ?", [uid]) if uid else ("", [])
        return [from_json(row[0]) for row in self._read(f"SELECT document FROM session {where}", *values)]

    def ports(self, address: str) -> list[int]:
        """Return the ports of an address that belong to sessions."""
        return [row[0] for row in self._read("SELECT port FROM port WHERE address = ?", address)]

    def addresses(self) -> list[str]:
        """Return the addresses at which sessions have ports, those of a policy of before too."""
        return [row[0] for row in self._read("SELECT DISTINCT address FROM port")]

    def choose(self, address: str, count: int, chooser: Choose) -> list[int]:
        """Return ports for a session without taking them."""
        last = self._read("SELECT port FROM last_port WHERE address = ?", address)
        taken = set(self.ports(address))
        return chooser(sorted(taken), last[0][0] if last else 0)[:count]

    def reserve(self, session: Session, address: str, chooser: Choose, limits: Limits) -> Session:
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
            session = session.changed(listeners=[f"{host}:{port}" for port in ports])
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

    def delete(self, session: Session) -> None:
        """Forget a session and give back its ports."""
        with self.transaction() as database:
            database.execute("DELETE FROM session WHERE uid = ? AND role = ?", (session.uid, session.role))

    def _read(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        try:
            return self._database.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"the session store {self._path} cannot be read: {error}") from None


def _configured(path: str, uri: bool = False) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, uri=uri)
    database.execute("PRAGMA foreign_keys = ON")
    return database


def _uri(path: str) -> str:
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _position(uid: str, role: str) -> int:
    """Place of a session's lock in the lock file: one byte of 2**62, so that no two sessions share one."""
    return int.from_bytes(hashlib.sha256(f"{role}-{uid}".encode()).digest()[:8], "big") >> 2
