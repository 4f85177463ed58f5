# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Error messages for a failing session store: the cause and the remedy."""

from __future__ import annotations

import sqlite3
from typing import Collection

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import StoreError, UnusableStoreError

# Timeout for a locked database. Each writer needs only a few milliseconds.
BUSY_SECONDS = 60
# Messages of SQLite for a database that must be restored or removed.
_DAMAGED = ("not a database", "malformed", "no such table", "no such column")
# Messages of SQLite for files that cannot be read or written.
_INACCESSIBLE = ("disk I/O error", "unable to open", "unable to delete")
_FULL = "disk is full"
_BUSY = "is locked"


def damaged_store(path: str, why: str) -> UnusableStoreError:
    """Return the error for a damaged store.

    Args:
        path: The store.
        why: What is wrong with it.
    """
    return UnusableStoreError(
        f"the session store {path} is damaged ({why}); the data servers do not need it and continue to run. "
        f"s2cs_info lists them as orphans, and s2cs_release stops each by its uid. Move the store away (mv {path} "
        f"{path}.damaged), and open the streams again"
    )


def version_mismatch(path: str, version: int, supported: int, known: Collection[tuple[str, str]]) -> UnusableStoreError:
    """Return the error for a store of another version.

    Args:
        path: The store.
        version: Its schema version.
        supported: The schema version of this version of the collection.
        known: Uid and role of its sessions, as far as they can be read.
    """
    return UnusableStoreError(
        f"the session store {path} has version {version}, but this version of the collection supports {supported}: use "
        "the version that created it, or release all sessions with that version and remove the store. s2cs_info lists "
        "data servers without a session as orphans, and s2cs_release stops them",
        known,
    )


def sqlite_error(path: str, what: str, error: sqlite3.Error) -> StoreError:
    """Return the error for a failed operation on a store, with the cause and the remedy.

    Args:
        path: The store.
        what: What failed: ``opened``, ``read`` or ``written``.
        error: The error of SQLite.
    """
    text = str(error)
    if _FULL in text:
        return StoreError(
            f"no space is left on the file system of {path}: free some space, or release sessions (s2cs_release), "
            "which works even on a full disk"
        )
    if any(sign in text for sign in _DAMAGED):
        return damaged_store(path, text)
    if _BUSY in text:
        return StoreError(
            f"the session store {path} was in use by another program for {BUSY_SECONDS} s: stop that program (fuser -v "
            f"{path} shows it) and try again"
        )
    if any(sign in text for sign in _INACCESSIBLE):
        return UnusableStoreError(
            f"the session store {path} cannot be {what}: {text}; check the kernel log and the permissions of {path}*. "
            "The data servers continue to run; s2cs_info lists them as orphans, and s2cs_release stops them"
        )
    return StoreError(
        f"the session store {path} cannot be {what}: {text}; run this as the user who owns it, or run the role "
        "scistream.gateway.s2cs"
    )
