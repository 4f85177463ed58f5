# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What stands in for a session store that cannot be used, so that what runs can be ended all the same."""

from __future__ import annotations

import sqlite3

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import StoreUnusable
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session import Session
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.store import Store, empty


class LostStore(Store):
    """A store without sessions, which changes no file. Two actions on one session are kept apart where that works.

    Args:
        directory: The state directory.
        error: Why the store that is there cannot be used.
    """

    def __init__(self, directory: str, error: StoreUnusable) -> None:
        self.error = error
        super().__init__(directory, read_only=True)

    def _open(self) -> sqlite3.Connection:
        self.locks.open_if_possible()
        return empty()

    def get(self, uid: str, role: str) -> Session | None:
        """Say why nothing is known of a session."""
        raise self.error
