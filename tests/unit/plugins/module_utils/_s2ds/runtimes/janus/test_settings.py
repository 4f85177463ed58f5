# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The section janus of a policy, and the file of the password."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.janus.settings import (
    JanusSettings,
    parse_settings,
)

GOOD: dict[str, Any] = {"url": "https://janus.example.org:5000/", "node": "dtn1", "password_file": "/etc/janus"}


def test_defaults() -> None:
    found = parse_settings("janus", GOOD)
    assert found == JanusSettings("https://janus.example.org:5000", "dtn1", "/etc/janus")
    assert (found.profile, found.user, found.ca, found.verify, found.timeout) == ("scistream", "admin", None, True, 60)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:5000", "http://localhost", "http://[::1]:5000", "https://10.0.0.1/x"]
)
def test_addresses(url: str) -> None:
    assert parse_settings("janus", {**GOOD, "url": url}).url == url


@pytest.mark.parametrize(
    "change",
    [
        {"url": "http://janus.example.org"},
        {"url": "http://127.example.org"},
        {"url": "ftp://janus.example.org"},
        {"url": "https://"},
        {"url": "https://user:Hidden-password@janus.example.org"},
        {"url": "https://janus.example.org?x=1"},
        {"url": "https://janus.example.org:99999"},
        {"url": "https://janus.example.org/ x"},
        {"url": 5},
        {"node": ""},
        {"node": "a/b"},
        {"profile": "a b"},
        {"user": "a:b"},
        {"password_file": "relative"},
        {"password_file": None},
        {"ca": "ca.pem"},
        {"verify": "no"},
        {"timeout": 0},
        {"timeout": True},
        {"password": "Hidden-password"},
    ],
)
def test_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ScistreamError) as caught:
        parse_settings("janus", {**GOOD, **change})
    assert "Hidden-password" not in str(caught.value)


@pytest.mark.parametrize("value", [None, [], "x", {}, {"url": "https://x"}])
def test_sections_that_are_none(value: Any) -> None:
    with pytest.raises(ScistreamError, match="janus"):
        parse_settings("janus", value)


def _settings(path: Path) -> JanusSettings:
    return parse_settings("janus", {**GOOD, "password_file": str(path)})


def test_the_password(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("it has spaces\n")
    path.chmod(0o600)
    assert _settings(path).password() == "it has spaces"
    assert "it has spaces" not in repr(_settings(path))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_password_that_others_may_read(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "password"
    path.write_text("secret-word")
    path.chmod(mode)
    with pytest.raises(ScistreamError, match="0600") as caught:
        _settings(path).password()
    assert "secret-word" not in str(caught.value)


# Without root's rights there is no file of somebody else that we could read in the first place.
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_password_of_somebody_else(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("secret-word")
    path.chmod(0o600)
    os.chown(path, 65532, 65532)
    with pytest.raises(ScistreamError, match="must be owned by root"):
        _settings(path).password()


@pytest.mark.parametrize("content", [b"", b"\n", b"two\nlines\n", b"\xff\xfe"])
def test_a_file_without_a_password(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "password"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ScistreamError):
        _settings(path).password()
