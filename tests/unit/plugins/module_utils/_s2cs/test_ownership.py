# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Permission to act on a session."""

from __future__ import annotations

import os
import pwd
from dataclasses import replace

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.caller import Caller
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import RefusedError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.ownership import (
    check_permission,
    is_administrator,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.policy import Policy
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session import Session, hash_secret
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.layout import Layout

SECRET = "0123456789abcdef0123456789abcdef"
OTHER = "fedcba9876543210fedcba9876543210"
POLICY = Policy("/etc/s2cs.json", "gw", Layout("/state"), {}, administrators=["daemon"])
SESSION = Session(
    *("the-uid", "producer", "s2ds", "process", "tls", 1, None, 180, {}, "games", hash_secret(SECRET), 1700000000.0),
    expires=None,
)


@pytest.fixture(autouse=True)
def root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate root."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)


ANN, BOB, OPERATOR, ROOT = (
    Caller(pwd.getpwnam(name).pw_uid) for name in (SESSION.owner, "mail", POLICY.administrators[0], "root")
)


@pytest.mark.parametrize(
    ("caller", "secret", "allowed"),
    [
        *((ANN, None, True), (ANN, SECRET, True), (ANN, OTHER, True)),
        *((BOB, None, False), (BOB, SECRET, True), (BOB, OTHER, False)),
        *((OPERATOR, None, True), (OPERATOR, OTHER, True), (Caller(4000000), None, False)),
        *((ROOT, None, True), (ROOT, OTHER, True)),
        # An unknown caller is neither the owner nor an administrator.
        *((Caller(None), None, False), (Caller(None), OTHER, False), (Caller(None), SECRET, True)),
    ],
)
def test_permissions(caller: Caller, secret: str | None, allowed: bool) -> None:
    if allowed:
        check_permission(POLICY, SESSION, secret, "release", caller)
        return
    with pytest.raises(RefusedError) as error:
        check_permission(POLICY, SESSION, secret, "release", caller)
    message = str(error.value)
    assert message.startswith("uid: " if secret is None else "secret: ") and "the-uid (producer)" in message
    assert "belongs to games" in message and "release" in message and message.endswith(" (policy: administrators)")
    assert "option secret" in message or secret
    assert SECRET not in message and OTHER not in message


def test_unknown_callers_own_nothing() -> None:
    unknown = replace(SESSION, owner=Caller(None).name)
    with pytest.raises(RefusedError, match="an unidentified user"):
        check_permission(replace(POLICY, administrators=[Caller(None).name]), unknown, None, "release", Caller(None))


def test_unprivileged_control_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only its own account can use the store of an unprivileged S2CS."""
    monkeypatch.setattr(os, "geteuid", lambda: BOB.uid)
    assert is_administrator(POLICY, BOB)
    check_permission(POLICY, SESSION, None, "update", BOB)
    assert not is_administrator(POLICY, Caller(4000000))
