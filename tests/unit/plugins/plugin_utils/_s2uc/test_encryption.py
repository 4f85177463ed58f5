# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Streams are encrypted unless somebody says otherwise, and what cannot be is refused with what to write instead."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.certificate import make_credentials
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import stream_uid
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_reader import read_streams
from ansible_collections.scistream.gateway.tests.unit.plugins.plugin_utils._s2uc.descriptions import (
    GATEWAYS,
    description,
    problems,
    read,
)


@pytest.mark.parametrize("proxy", [None, "s2ds", "haproxy", "nginx", "stunnel"])
@pytest.mark.parametrize("encryption", [None, "tls"])
@pytest.mark.parametrize("purpose", ["open", "inbound"])
def test_every_proxy_encrypts(purpose: str, encryption: Any, proxy: str | None) -> None:
    assert read(purpose, encryption=encryption, proxy=proxy).encryption == "tls"


@pytest.mark.parametrize("proxy", [None, "s2ds", "haproxy", "nginx"])
def test_without_encryption_must_be_asked_for(proxy: str | None) -> None:
    assert read(encryption="none", proxy=proxy, runtime="janus", transport="udp").encryption == "none"


@pytest.mark.parametrize(
    ("changes", "text", "advice"),
    [
        ({"encryption": "none", "proxy": "stunnel"}, "encryption: none: stunnel always", "write 'encryption: tls'"),
        ({"runtime": "janus"}, "encryption: not set (default: tls): runtime janus", "write 'encryption: none'"),
        ({"encryption": "tls", "runtime": "janus"}, "encryption: tls: runtime janus", "write 'encryption: none'"),
        ({"transport": "udp"}, "transport is udp", "write 'transport: tcp', or write 'encryption: none'"),
        ({"encryption": "tls", "transport": "both"}, "transport is both", "write 'transport: tcp'"),
    ],
)
def test_what_cannot_be_encrypted_or_cannot_be_otherwise(changes: dict[str, Any], text: str, advice: str) -> None:
    (problem,) = problems([description(**changes)])
    assert text in problem and advice in problem


def test_a_half_may_be_given_the_other_certificate_without_a_ticket() -> None:
    uid = stream_uid("tomography", "gw-a", "gw-b")
    certificate = make_credentials(uid, "producer").certificate
    item = description(producer={"gateway": "gw-a", "remote_listeners": ["192.0.2.1:5100"], "certificate": certificate})
    assert read_streams([item], "outbound", GATEWAYS)[0].certificates == {"producer": certificate}
    (problem,) = problems([{**item, "uid": uid[::-1].replace("-", "0")[:8] + uid[8:]}], "outbound")
    assert problem.startswith('stream "tomography": producer.certificate: the value is that of ')
    (problem,) = problems([{**item, "encryption": "none"}], "outbound")
    assert "'encryption: none' does not use it" in problem
    item["producer"]["certificate"] = make_credentials(uid, "producer").key
    (problem,) = problems([item], "outbound")
    assert "private key" in problem and "BEGIN" not in problem
    del item["producer"]["certificate"]
    assert "-e ticket=PATH" in problems([item], "outbound")[0]


@pytest.mark.parametrize("purpose", ["open", "inbound"])
def test_a_gateway_that_is_reached_tells_its_certificate_itself(purpose: str) -> None:
    (problem,) = problems([description(producer__certificate="x")], purpose)
    assert "producer.certificate" in problem and "omit it" in problem
