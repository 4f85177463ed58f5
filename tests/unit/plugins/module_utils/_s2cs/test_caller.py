# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Callers on simulated kernels: in containers and slices, and with a restricted /proc."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs import caller

ALL, SOME = "0 0 4294967295", "0 100000 65536"
SESSION = "0::/user.slice/user-1000.slice/session-3.scope"


def proc(root: Path, changes: dict[str, Any]) -> None:
    """Write a /proc in which process 30 (this process) descends from 20, 10 and 1. A change to None removes a file."""
    files = {
        **{f"{pid}/status": f"Name:\tsh\nPPid:\t{parent}\nUid:\t0\t0\t0\t0\n" for pid, parent in PARENTS.items()},
        "self/uid_map": ALL,
        "self/cgroup": "0::/system.slice/cron.service\n",
        "1/cgroup": "0::/init.scope\n",
        "self/loginuid": "4294967295",
        "1/loginuid": "4294967295",
        "sys/kernel/overflowuid": "65534",
        **changes,
    }
    for name, text in files.items():
        if text is not None:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(str(text))


PARENTS = {"self": 20, "20": 10, "10": 1, "1": 0}


def of(uid: int, parent: int = 1) -> str:
    """Return the status of a process of a user."""
    return f"Name:\tsh\nPPid:\t{parent}\nUid:\t{uid}\t0\t0\t0\n"


@pytest.mark.parametrize(
    ("changes", "uid"),
    [
        ({}, 0),
        ({"10/status": of(1000)}, 1000),
        ({"10/status": of(1000), "20/status": of(1001, 10)}, 1001),
        ({"self/loginuid": "1000"}, 1000),
        ({"self/loginuid": "0", "10/status": of(1000)}, 0),
        # The login uid of the container engine does not identify the user in the container.
        ({"self/loginuid": "1000", "1/loginuid": "1000"}, 0),
        ({"self/loginuid": "1000", "1/loginuid": "1000", "10/status": of(1001)}, 1001),
        ({"self/loginuid": None, "1/loginuid": None}, 0),
        ({"self/cgroup": SESSION}, 1000),
        ({"self/cgroup": f"3:cpu:/\n{SESSION.replace('0:', '1:name=systemd')}\n0::/\n"}, 1000),
        ({"self/cgroup": SESSION, "1/cgroup": SESSION}, 0),
        ({"self/cgroup": "0::/user.slice/user-0.slice/session-3.scope"}, 0),
        ({"self/cgroup": SESSION, "10/status": of(1001)}, 1001),
        # In a user namespace, all users outside appear as nobody.
        ({"self/uid_map": "0 1000 1", "10/status": of(65534)}, 0),
        ({"self/uid_map": "0 1000 1", "10/status": of(0), "1/status": of(65534, 0)}, 0),
        ({"self/uid_map": SOME, "10/status": of(1000)}, 1000),
        ({"10/status": of(65534)}, 65534),
        # If the user cannot be determined, the caller is unknown.
        ({"self/uid_map": SOME, "10/status": of(65534)}, None),
        ({"10/status": None}, None),
        ({"10/status": "Name:\tsh\n"}, None),
        ({"10/status": "Uid:\tx\nPPid:\t1\n"}, None),
        ({"10/status": of(0, 20)}, None),
        ({"self/loginuid": "text"}, None),
        ({"self/cgroup": None}, None),
        ({"self/loginuid": None, "self/status": None}, None),
    ],
)
def test_kernel_facts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, changes: Any, uid: int | None) -> None:
    proc(tmp_path, changes)
    monkeypatch.setattr(caller, "_PROC", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "getuid", lambda: 0)
    assert caller.find_caller() == caller.Caller(uid)
    assert caller.find_caller().known == (uid is not None)


def test_setuid_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    assert caller.find_caller().uid == 1000
    monkeypatch.setattr(os, "geteuid", lambda: 1001)
    assert caller.find_caller().uid == 1001
