# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What HAProxy itself counts: the connections that it refused, which appear in no log.

Each worker counts for itself, and a reload starts a new one.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.answers import LARGEST_COUNT, BadAnswer
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.processes import start_time
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import Place

_REFUSED_COLUMNS = ("dcon", "dses")
_DIGITS = 18


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
    try:
        return [row for row in rows if row.get("svname") == "FRONTEND"]
    except csv.Error:
        raise BadAnswer("its statistics are not a table") from None


def refused(rows: Sequence[dict[str, str]]) -> int:
    """Return how many connections the worker with these rows refused."""
    values = [row.get(column) or "0" for row in rows for column in _REFUSED_COLUMNS]
    if not all(value.isdigit() and value.isascii() and len(value) <= _DIGITS for value in values):
        raise BadAnswer("its statistics are not numbers")
    return min(LARGEST_COUNT, sum(map(int, values)))


def identity(place: Place, master: Master) -> str:
    """Tell this worker from any other, also from one that has the same number later."""
    return f"{master.worker} {start_time(place.pid(master.worker) or 0)}"
