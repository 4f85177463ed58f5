# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The session store: one SQLite database, which is authoritative for the sessions and their ports.

Ports are allocated in a transaction with a uniqueness constraint, so any number of control nodes can act concurrently.

The journal is allocated in advance and keeps its size, so that sessions can be released on a full disk. A row that
cannot be read does not affect other sessions.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Collection, Iterator

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import Endpoint
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs import (
    database,
    previous_ports,
    store_files,
    store_queries,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import (
    RowError,
    StoreError,
    UnusableStoreError,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.limits import Limits, Usage
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.ports import PortChooser
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session import Session
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session_document import from_json
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session_locks import SessionLocks
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.store_errors import (
    damaged_store,
    sqlite_error,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.store_writes import Write
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.layout import make_directory

_TOLERANCE = 1024


@dataclass(frozen=True)
class UnreadableRow:
    """A row of the store that this version of the collection cannot read."""

    uid: str
    role: str
    why: str


class Store:
    """The sessions and ports of one S2CS.

    Args:
        directory: The state directory. It is created if it does not exist.
        read_only: Whether to never create or change anything (check mode, ``s2cs_info``).

    Attributes:
        locks: The locks of the sessions.
        unreadable: Rows that the last call of ``all`` could not read.

    Raises:
        StoreError: The store cannot be opened.
    """

    def __init__(self, directory: str, read_only: bool = False) -> None:
        self._directory = directory
        self._read_only = read_only
        self._path = os.path.join(directory, "s2cs.db")
        self.locks = SessionLocks(os.path.join(directory, "lock"))
        self.unreadable: list[UnreadableRow] = []
        # The last session that was read from each row: an action reads each row several times.
        self._last: dict[tuple[str, str], tuple[Any, Session]] = {}
        self._connection = self._open()

    def _open(self) -> sqlite3.Connection:
        self._check_file()
        try:
            if self._read_only:
                # If this user may write, SQLite can recover from a writer that was killed.
                mode = "rw" if os.access(self._path, os.W_OK) else "ro"
                if os.path.exists(self._path):
                    connection = database.connect(self._path, mode)
                    if database.schema_version(self._path, connection):
                        return connection
                    connection.close()
                # There is no store, or the first call that tried to create one was killed.
                return database.connect_empty()
            make_directory(self._directory)
            # Created here, so that it never exists with the default permissions of SQLite.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self.locks.open()
            connection = database.connect(self._path)
            connection.execute("PRAGMA journal_mode = PERSIST")
            if not database.schema_version(self._path, connection):
                database.create_schema(connection)
            database.allocate_journal(self._path, connection)
            return connection
        except OSError as error:
            raise StoreError(
                f"the session store {self._path} cannot be opened: {error.strerror}; run this as the user who owns it, "
                "or run the role scistream.gateway.s2cs"
            ) from None
        except sqlite3.Error as error:
            raise sqlite_error(self._path, "opened", error) from None

    def _check_file(self) -> None:
        """Check that the database is a regular file, because opening anything else could block forever."""
        try:
            what = store_files.file_type(os.lstat(self._path).st_mode)
        except OSError:
            what = ""
        if what:
            raise damaged_store(self._path, f"it is {what}")
        writes = not self._read_only or os.access(self._path, os.W_OK)
        store_files.check_files(self._path, self.locks.path, writes)

    def close(self) -> None:
        """Close the database, and release the locks."""
        self._connection.close()
        self.locks.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Run the statements of the context in one transaction, which is rolled back if an error is raised."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                # After some errors, such as a full disk, SQLite has already rolled back.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise sqlite_error(self._path, "written", error) from None

    def get(self, uid: str, role: str) -> Session | None:
        """Return a session, or None if it does not exist.

        Raises:
            RowError: Its row cannot be read.
        """
        row = self._read("SELECT document FROM session WHERE uid = ? AND role = ?", uid, role)
        if not row:
            return None
        document = row[0][0]
        last = self._last.get((uid, role))
        if last is None or last[0] != document:
            try:
                last = document, _session(uid, role, document)
            except ValueError as error:
                raise RowError(uid, role, str(error)) from None
            self._last[uid, role] = last
        return last[1]

    def all(self, uid: str | None = None) -> list[Session]:
        """Return all sessions, or those of one stream. Rows that cannot be read are added to ``unreadable``."""
        where, values = ("WHERE uid = ?", [uid]) if uid else ("", [])
        found: list[Session] = []
        self.unreadable = []
        for key, role, document in self._read(f"SELECT uid, role, document FROM session {where}", *values):
            try:
                found.append(_session(key, role, document))
            except ValueError as error:
                self.unreadable.append(UnreadableRow(str(key), str(role), str(error)))
        return found

    def require_readable(self) -> None:
        """Read the rows of all sessions without returning them, which fails in a damaged store."""
        # SQLite could determine the length of a value without reading it.
        self._read("SELECT max(uid), max(role), max(document) FROM session")

    def keys(self) -> set[tuple[str, str]]:
        """Return uid and role of all sessions, including those whose rows cannot be read."""
        return {(str(uid), str(role)) for uid, role in self._read("SELECT uid, role FROM session")}

    def expirations(self) -> dict[tuple[str, str], float]:
        """Return when sessions expire by uid and role, without reading them completely."""
        try:
            found = store_queries.expirations(self._connection)
        except sqlite3.Error as error:
            raise sqlite_error(self._path, "read", error) from None
        if found is None:
            found = [(session.uid, session.role, session.expires) for session in self.all()]
        return {(str(uid), str(role)): when for uid, role, when in found if isinstance(when, (int, float))}

    def expired(self) -> list[Session]:
        """Return the sessions that have expired, except rows that cannot be read."""
        found = []
        for key, when in self.expirations().items():
            if time.time() > when:
                with suppress(RowError):
                    session = self.get(*key)
                    if session is not None and session.is_expired:
                        found.append(session)
        return found

    def usage(self, owner: str | None) -> Usage:
        """Return what all sessions use, in total and of an owner, without reading them completely.

        Args:
            owner: The owner. None takes a fraction of the time, and returns only the total.
        """
        found = None if self._read_only else store_queries.usage(self._connection, owner)
        return Usage.of(self.all(), owner) if found is None else found

    def ports(self, address: str) -> list[int]:
        """Return the ports on an address that belong to sessions."""
        return [row[0] for row in self._read("SELECT port FROM port WHERE address = ?", address)]

    def addresses(self) -> list[str]:
        """Return all addresses on which sessions have ports, including those of earlier policies."""
        return [row[0] for row in self._read("SELECT DISTINCT address FROM port")]

    def choose(self, address: str, count: int, chooser: PortChooser) -> list[int]:
        """Select ports for a session without reserving them.

        Args:
            address: Address of its listeners.
            count: Number of ports.
            chooser: Selects the ports.
        """
        if not count:
            return []
        last = self._read("SELECT port FROM last_port WHERE address = ?", address)
        taken = set(self.ports(address))
        return chooser(sorted(taken), last[0][0] if last else 0)[:count]

    def _choose_peers(
        self, count: int, address: str, chooser: PortChooser, taken: Collection[tuple[str, int]]
    ) -> list[int]:
        """Select ports beside others of the same session, which may be at the same address."""
        own = [port for host, port in taken if host == address]
        return self.choose(address, count, lambda others, last: chooser([*others, *own], max([last, *own])))

    def holder(self, address: str, port: int) -> tuple[str, str] | None:
        """Return uid and role of the session to which a port belongs, or None."""
        row = self._read("SELECT uid, role FROM port WHERE address = ? AND port = ?", address, str(port))
        return (str(row[0][0]), str(row[0][1])) if row else None

    def previous_ports(self, uid: str, role: str, address: str) -> list[int]:
        """Return the ports that a session had on an address before it was released, if they are known."""
        return previous_ports.recall(self._connection, uid, role, address)

    def reserve(self, session: Session, address: str, chooser: PortChooser, limits: Limits) -> Session:
        """Add a new session and reserve its ports in one transaction.

        Args:
            session: The session, without listeners.
            address: Address of its listeners.
            chooser: Selects free ports, one for each listener.
            limits: Limits of the policy, checked in the same transaction.

        Returns:
            The session with its listeners.

        Raises:
            RefusedError: A limit is exceeded, or there are too few free ports.
            StateError: The session is too large.
        """
        reserved: Session = self.reserving(session, address, chooser, limits)()
        return reserved

    def reserving(
        self,
        session: Session,
        address: str,
        chooser: PortChooser,
        limits: Limits,
        wished: Collection[int] = (),
        peers: tuple[str, PortChooser] | None = None,
    ) -> Write:
        """Return a step that does what ``reserve`` does.

        Args:
            session: The session, without listeners.
            address: Address of its listeners.
            chooser: Selects free ports, one for each listener.
            limits: Limits of the policy.
            wished: Ports that do not count as assigned in turn.
            peers: Address of its listeners for the other gateway, and what selects their ports.
        """

        def write(connection: sqlite3.Connection) -> Session:
            limits.check(session, self.usage(session.owner if limits.apply_to(session.owner) else None))
            ports = self.choose(address, session.num_listeners, chooser)
            reserved = session.replace(listeners=[str(Endpoint(address, port)) for port in ports])
            taken = [(address, port) for port in ports]
            in_turn = [(address, port) for port in ports if port not in wished]
            if peers is not None:
                waits = [(peers[0], port) for port in self._choose_peers(session.num_conn, *peers, taken)]
                reserved = reserved.replace(peer_listeners=[str(Endpoint(*item)) for item in waits])
                taken, in_turn = [*taken, *waits], [*in_turn, *waits]
            document = reserved.require_storable()
            connection.execute("INSERT INTO session VALUES (?, ?, ?)", (reserved.uid, reserved.role, document))
            store_queries.add_usage(connection, reserved)
            connection.executemany(
                "INSERT INTO port VALUES (?, ?, ?, ?)", [(*item, session.uid, session.role) for item in taken]
            )
            connection.executemany("INSERT OR REPLACE INTO last_port VALUES (?, ?)", dict(in_turn).items())
            return reserved

        return Write(self.transaction, write)

    def save(self, session: Session) -> None:
        """Save an existing session.

        Raises:
            StateError: It is too large. Actions check this before they change anything.
        """
        self.saving(session)()

    def saving(self, session: Session) -> Write:
        """Return a step that saves an existing session."""
        # A session that was stored can also be stored with a pending action and other deadlines.
        document = session.require_storable(_TOLERANCE)

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE session SET document = ? WHERE uid = ? AND role = ?", (document, session.uid, session.role)
            )

        return Write(self.transaction, write)

    def delete(self, uid: str, role: str) -> None:
        """Delete a session and release its ports."""
        self.deleting(uid, role)()

    def deleting(self, uid: str, role: str) -> Write:
        """Return a step that deletes a session and releases its ports."""
        return Write(self.transaction, lambda connection: _delete(connection, uid, role))

    def retiring(self, session: Session) -> Write:
        """Return a step that deletes a session, releases its ports and remembers them."""

        def write(connection: sqlite3.Connection) -> None:
            # First, so that the space of its row can be used.
            _delete(connection, session.uid, session.role)
            previous_ports.remember(connection, session)

        return Write(self.transaction, write)

    def _read(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(query, values).fetchall()
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
        return database.connect_empty()

    def get(self, uid: str, role: str) -> Session | None:
        """Refuse, because nothing is known about any session.

        Raises:
            UnusableStoreError: Always.
        """
        raise self.error


def _delete(connection: sqlite3.Connection, uid: str, role: str) -> None:
    connection.execute("DELETE FROM session WHERE uid = ? AND role = ?", (uid, role))


def _session(uid: Any, role: Any, document: Any) -> Session:
    """Return the session of a row.

    Raises:
        ValueError: The row cannot be read, or contains another session.
    """
    session = from_json(document)
    if (session.uid, session.role) != (uid, role):
        raise ValueError("it belongs to another session")
    return session
