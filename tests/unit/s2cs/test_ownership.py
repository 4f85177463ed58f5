# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whose session it is, and who else may act on it."""

from __future__ import annotations

import os
import pwd

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import RefusedError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.ownership import (
    check_right,
    invoking_user,
    is_administrator,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.policy import Policy
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session import Session, hash_secret
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.site import Site

SECRET = "0123456789abcdef0123456789abcdef"
OTHER = "fedcba9876543210fedcba9876543210"
POLICY = Policy("/etc/s2cs.json", "gw", Site("/state"), {}, administrators=["operator"])
SESSION = Session(
    *("the-uid", "producer", "s2ds", "process", "tls", 1, None, 180, {}, "ann", hash_secret(SECRET), 1700000000.0),
    expires=None,
)


def become(monkeypatch: pytest.MonkeyPatch, user: str | None, euid: int = 0) -> None:
    """Be root for somebody who came by sudo, or directly; or be somebody else."""
    monkeypatch.setattr(os, "geteuid", lambda: euid)
    monkeypatch.setattr(os, "getuid", lambda: euid)
    if user is None:
        monkeypatch.delenv("SUDO_USER", raising=False)
    else:
        monkeypatch.setenv("SUDO_USER", user)


@pytest.mark.parametrize(
    ("sudo_user", "secret", "allowed"),
    [
        *(("ann", None, True), ("ann", SECRET, True), ("ann", OTHER, True)),
        *(("bob", None, False), ("bob", SECRET, True), ("bob", OTHER, False)),
        *(("operator", None, True), ("operator", OTHER, True), ("operator2", None, False), ("Ann", None, False)),
        # Root itself, with sudo out of habit or without.
        *((None, None, True), (None, OTHER, True), ("root", None, True), ("", None, True)),
    ],
)
def test_rights(monkeypatch: pytest.MonkeyPatch, sudo_user: str | None, secret: str | None, allowed: bool) -> None:
    become(monkeypatch, sudo_user)
    if allowed:
        check_right(POLICY, SESSION, secret, "release")
        return
    with pytest.raises(RefusedError) as error:
        check_right(POLICY, SESSION, secret, "release")
    message = str(error.value)
    assert message.startswith("uid: " if secret is None else "secret: ") and "the-uid (producer)" in message
    assert "belongs to ann" in message and "release" in message and message.endswith(" (policy: administrators)")
    assert "option secret" in message or secret
    assert SECRET not in message and OTHER not in message


def test_without_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever can use the store of an unprivileged S2CS is its account; sudo has no say there."""
    nobody = pwd.getpwnam("nobody")
    become(monkeypatch, "ann", nobody.pw_uid)
    assert invoking_user() == "nobody" and is_administrator(POLICY, "nobody")
    check_right(POLICY, SESSION, None, "update")
    become(monkeypatch, None, 4000000)
    assert invoking_user() == "4000000"


@pytest.mark.parametrize(
    ("sudo_user", "name"),
    [("ann", "ann"), ("DOMAIN\\ann", "DOMAIN\\ann"), (None, "root"), ("", "root"), ("a\nb", "'a\\nb'")],
)
def test_names(monkeypatch: pytest.MonkeyPatch, sudo_user: str | None, name: str) -> None:
    become(monkeypatch, sudo_user)
    assert invoking_user() == name
    assert is_administrator(POLICY, name) == (name == "root")
