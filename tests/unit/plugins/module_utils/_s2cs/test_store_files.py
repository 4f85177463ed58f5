# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Unexpected files in place of those of the session store: reported before anything is opened or created."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import UnusableStoreError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.store import Store, UnusableStore
from ansible_collections.scistream.gateway.tests.unit.plugins.module_utils._s2cs.test_store import reserve

NAMES = ("s2cs.db-journal", "s2cs.db-wal", "s2cs.db-shm", "lock")


def bind(path: Path) -> None:
    """Create a socket."""
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(path))


MAKE: dict[str, Callable[[Path], None]] = {
    "a directory": Path.mkdir,
    "a pipe": os.mkfifo,
    "a symbolic link": lambda path: path.symlink_to("/nowhere"),
    "a socket": bind,
}


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory with a store."""
    store = Store(str(tmp_path))
    reserve(store, "a")
    store.close()
    return tmp_path


def refusal(state: Path, read_only: bool) -> str:
    """Return the error for a store, and check that nothing was changed."""
    before = {path.name: path.lstat() for path in state.iterdir()}
    with pytest.raises(UnusableStoreError) as error:
        Store(str(state), read_only)
    after = {path.name: path.lstat() for path in state.iterdir()}
    assert {name: about.st_ino for name, about in before.items()} == {name: item.st_ino for name, item in after.items()}
    assert [about.st_mtime_ns for about in before.values()] == [after[name].st_mtime_ns for name in before]
    assert error.value.known == frozenset()
    return str(error.value)


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("what", MAKE)
@pytest.mark.parametrize("name", NAMES)
def test_other_file_types(state: Path, monkeypatch: pytest.MonkeyPatch, name: str, what: str, read_only: bool) -> None:
    path = state / name
    path.unlink(missing_ok=True)
    monkeypatch.chdir(state)
    MAKE[what](path)
    message = refusal(state, read_only)
    assert f"{path} is {what} instead of" in message and f"(mv {path} {path}.moved)" in message
    # Data servers can still be stopped.
    with pytest.raises(UnusableStoreError, match=re.escape(f"{path} is {what}")):
        UnusableStore(str(state), UnusableStoreError(message)).get("a", "producer")
    path.rename(f"{path}.moved")
    store = Store(str(state), read_only)
    assert [session.uid for session in store.all()] == ["a"]
    store.close()


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("name", ["s2cs.db", *NAMES])
def test_files_of_other_users(state: Path, monkeypatch: pytest.MonkeyPatch, name: str, read_only: bool) -> None:
    """The owner is simulated, so that this does not require root."""
    path = state / name
    path.touch()
    (state / "s2cs.db").chmod(0o600)
    real = os.lstat

    def lstat(place: str) -> os.stat_result:
        about = real(place)
        if str(place) != str(path):
            return about
        return os.stat_result([*about[:4], 54321, *about[5:10]])

    monkeypatch.setattr(os, "lstat", lstat)
    with pytest.raises(
        UnusableStoreError,
        match=rf"{path} belongs to 54321, but (the store|its directory) to \S+; .*\(chown \S+ {path}\)",
    ):
        Store(str(state), read_only)


def test_files_without_a_database(tmp_path: Path) -> None:
    """These files are refused even if there is no store yet."""
    (tmp_path / "s2cs.db-wal").mkdir()
    assert "s2cs.db-wal is a directory" in refusal(tmp_path, read_only=False)
    assert [path.name for path in tmp_path.iterdir()] == ["s2cs.db-wal"]
