# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a probe makes of a session: its certificates, and whether it is one for a probe."""

from __future__ import annotations

from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.actions.probe import certificate_problems
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session import STREAMING, Session
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session_document import from_json
from ansible_collections.scistream.gateway.tests.integration.proxies.certificates import of_gateway

UID = "11111111-2222-4333-8444-555555555555"


def session(role: str = "producer", **values: Any) -> Session:
    """Return a session that is streaming."""
    known: dict[str, Any] = {
        "uid": UID,
        "role": role,
        "proxy": "s2ds",
        "runtime": "process",
        "encryption": "tls",
        "num_conn": 1,
        "rate": None,
        "hello_timeout": 60,
        "labels": {},
        "owner": "ann",
        "secret_hash": "x$y",
        "created": 0.0,
        "expires": None,
        "state": STREAMING,
        "listeners": ["192.0.2.1:5100", "192.0.2.1:5101"],
    }
    return Session(**{**known, **values})


def test_certificates_that_are_valid() -> None:
    own, peer = of_gateway("producer", UID), of_gateway("consumer", UID)
    assert list(certificate_problems(session(certificate=own.certificate, peer_certificate=peer.certificate))) == []
    assert list(certificate_problems(session(encryption="none"))) == []


def test_clocks_that_are_wrong() -> None:
    early, late = of_gateway("producer", UID, begins=3600), of_gateway("consumer", UID, begins=-7200, ends=-3600)
    early_line, late_line = certificate_problems(
        session(certificate=early.certificate, peer_certificate=late.certificate)
    )
    assert early_line.startswith("the certificate of this gateway is valid from 2")
    assert late_line.startswith("the certificate of the other gateway expired at 2")
    for line in (early_line, late_line):
        assert "the clock of this gateway says 2" in line


def test_earlier_versions_can_read_other_sessions() -> None:
    assert "for_probe" not in session().to_json() and from_json(session().to_json()) == session()
    probe = session(for_probe=True)
    assert from_json(probe.to_json()) == probe


def test_only_the_gateway_itself() -> None:
    assert session("consumer").own_clients == ["192.0.2.1/32"]
    assert session("consumer", listeners=["[2001:db8::1]:5100"]).own_clients == ["2001:db8::1/128"]
