# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What HAProxy itself counts: the connections that it refused, which appear in no log.

Each worker counts for itself, and a reload starts a new one. What the one before had counted is kept in a file.
"""

from __future__ import annotations

import csv
import json
import os
from dataclasses import dataclass
from typing import Any, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.activity import read
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.processes import start_time
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.runtime import Place

_FILE = "counters.json"
_REFUSED_COLUMNS = ("dcon", "dses")


@dataclass(frozen=True)
class Master:
    """The processes of one HAProxy: the master, its worker, workers of the past, and how often it was reloaded."""

    pid: int
    worker: int
    old: Sequence[int]
    reloads: int


def listener_rows(statistics: str) -> list[dict[str, str]]:
    """Return the rows of the listeners from the answer to "show stat"."""
    rows = csv.DictReader(statistics.lstrip("# \n").splitlines())
    return [row for row in rows if row.get("svname") == "FRONTEND"]


def refused(place: Place, master: Master, rows: Sequence[dict[str, str]]) -> int:
    """Return how many connections were refused by the worker with these rows and by those before it."""
    here = sum(int(row.get(column) or 0) for row in rows for column in _REFUSED_COLUMNS)
    return _kept(place, master) + here


def keep(place: Place, master: Master, rows: Sequence[dict[str, str]]) -> None:
    """Write down, before a reload, what has been counted."""
    document = {"master": _identity(place, master), "refused": refused(place, master, rows)}
    path = os.path.join(place.notes, _FILE)
    descriptor = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        json.dump(document, stream)
    os.rename(f"{path}.new", path)


def _identity(place: Place, master: Master) -> str:
    """Tell this master from one that was started later."""
    return f"{master.pid} {start_time(place.pid(master.pid) or 0)}"


def _kept(place: Place, master: Master) -> int:
    try:
        document: Any = json.loads(read(place.notes, _FILE))
        return int(document["refused"]) if document["master"] == _identity(place, master) else 0
    except (ValueError, KeyError, TypeError):
        return 0
