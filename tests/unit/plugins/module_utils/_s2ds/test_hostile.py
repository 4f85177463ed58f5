# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What data servers and peers send, and somebody who took one over might: nothing of it is more than a refusal."""

from __future__ import annotations

import base64
import contextlib
import json
import random
import socket
import struct
import time
from typing import Any

import pytest
from cryptography import x509
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ansible_collections.scistream.gateway.plugins.module_utils._common import x509_der
from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import Endpoint
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe import replies, socket_diag
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies import haproxy
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.janus import in_container
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.certificate import make_credentials

UID = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"
GOOD = {
    "since": 1000.5,
    "restarts": 2,
    "connections": {"open": 1, "total": 2, "refused": 3, "failed": 4},
    "bytes": {"to_consumer": 2**63 - 1, "to_producer": 0},
    "last_byte": None,
    "exact": True,
}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


def test_counters_of_the_right_shape_and_nothing_else() -> None:
    assert replies.counters({**GOOD, "more": "x" * 100}) == GOOD
    old = {key: value for key, value in GOOD.items() if key in ("since", "connections", "bytes")}
    assert replies.counters(old) == {**GOOD, "restarts": 0}
    assert replies.counters({**GOOD, "exact": "x"})["exact"] is False


TLS = {
    "sending": "kernel",
    "receiving": None,
    "suite": "TLS_AES_256_GCM_SHA384",
    "reason": "kernel_tls is true",
    "with_one_key": 0,
}


def test_encryption_of_the_right_shape_and_nothing_else() -> None:
    assert replies.encryption({"tls": {**TLS, "more": 1}}) == TLS
    assert replies.encryption({"tls": {**TLS, "reason": "a\nb\x1b[1m"}}) == {**TLS, "reason": "a b [1m"}
    assert replies.encryption({"tls": None}) is replies.encryption({}) is None


@pytest.mark.parametrize("key", ["sending", "receiving", "suite", "reason", "with_one_key", "all"])
@pytest.mark.parametrize("value", [True, 1.5, "x y", "Kernel", "\n", [], ["kernel"], {}, "A" * 65])
def test_encryption_of_a_wrong_shape(key: str, value: Any) -> None:
    if key == "reason" and isinstance(value, str):
        assert len(replies.encryption({"tls": {**TLS, key: value}})["reason"]) <= 65  # type: ignore[index]
        return
    with pytest.raises(replies.InvalidReply, match="invalid answer of the data server"):
        replies.encryption({"tls": value if key == "all" else {**TLS, key: value}})


@pytest.mark.parametrize("paths", [None, 0, 1, 2, 255])
def test_paths_of_the_right_shape_and_nothing_else(paths: Any) -> None:
    assert replies.multipath({"multipath": {"paths": paths, "more": 1}}) == {"paths": paths}
    assert replies.multipath({"multipath": None}) is replies.multipath({}) is None


@pytest.mark.parametrize("value", [True, "1", -1, 256, 2**63, 1.0, [], [1], {}])
def test_paths_of_a_wrong_shape(value: Any) -> None:
    for found in (value, {"paths": value}):
        if found == {}:
            continue
        with pytest.raises(replies.InvalidReply, match="invalid answer of the data server"):
            replies.multipath({"multipath": found})


LEG = {"rtt": 100.25, "congestion": "bbr"}


@pytest.mark.parametrize("leg", [None, LEG, {"rtt": None, "congestion": None}, {"rtt": 1, "congestion": "a_b-1"}])
def test_legs_of_the_right_shape_and_nothing_else(leg: Any) -> None:
    given = None if leg is None else {**leg, "more": 1}
    assert replies.path({"path": {"client": given, "target": LEG, "more": 1}}) == {"client": leg, "target": LEG}
    assert replies.path({"path": None}) is replies.path({}) is None


@pytest.mark.parametrize("value", [True, "1", 0, -1, 1e6, float("nan"), float("inf"), [], {}, "Bbr", "a" * 16, "\n"])
def test_legs_of_a_wrong_shape(value: Any) -> None:
    wrong = [{"client": {**LEG, "rtt": value}}, {"target": {**LEG, "congestion": value}}]
    wrong += [] if value == {} else [value, {"client": value}]
    for found in wrong:
        with pytest.raises(replies.InvalidReply, match="invalid answer of the data server"):
            replies.path({"path": found})


@pytest.mark.parametrize("key", ["since", "restarts", "connections", "bytes", "last_byte"])
@pytest.mark.parametrize("value", [True, "1", -1, 2**63, float("nan"), float("inf"), [], {}, {"open": 1}, 1e300])
def test_counters_of_a_wrong_shape(key: str, value: Any) -> None:
    with pytest.raises(replies.InvalidReply, match="invalid answer of the data server"):
        replies.counters({**GOOD, key: value})


@given(VALUES)
@settings(max_examples=300, deadline=None)
@example([["x"] * 3])
def test_any_document(value: Any) -> None:
    for key in (None, *GOOD, "listeners"):
        with contextlib.suppress(S2DSException):
            found = replies.document(json.dumps(value if key is None else {**GOOD, "listeners": [], key: value}))
            json.dumps(replies.counters(found))
            assert all(isinstance(item, str) for item in replies.listeners(found))


@pytest.mark.parametrize(
    "text", ["", "[]", "1", "null", '"x"', "[" * 200000, '{"a":' * 100000, "9" * 500000, '{"a": NaN}', "{", "\0"]
)
def test_no_document(text: str) -> None:
    began = time.monotonic()
    with pytest.raises(replies.InvalidReply) as caught:
        replies.document(text)
    assert len(str(caught.value)) < 400 and str(caught.value).isprintable()
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("value", ["127.0.0.1:1", {"a": 1}, ["localhost:1"], ["127.0.0.1"], [1], [["127.0.0.1:1"]]])
def test_listeners_are_addresses(value: Any) -> None:
    assert replies.listeners({"listeners": ["127.0.0.1:1", "[::1]:65535"]}) == ["127.0.0.1:1", "[::1]:65535"]
    with pytest.raises(replies.InvalidReply):
        replies.listeners({"listeners": value})


def test_listeners_are_those_that_were_asked_for() -> None:
    fixed, free = Endpoint("127.0.0.1", 5100), Endpoint("::1", 0)
    replies.check_listeners(["127.0.0.1:5100", "[::1]:5105"], [fixed, free], (5100, 5110))
    replies.check_listeners(["[::1]:1"], [free], None)
    for listeners in (["127.0.0.1:5100"], ["127.0.0.2:5100", "[::1]:5105"], ["127.0.0.1:5101", "[::1]:5105"]):
        with pytest.raises(replies.InvalidReply, match="should listen"):
            replies.check_listeners(listeners, [fixed, free], (5100, 5110))
    with pytest.raises(replies.InvalidReply):
        replies.check_listeners(["127.0.0.1:5100", "[::1]:22"], [fixed, free], (5100, 5110))


@given(st.text(alphabet="0123456789 masterworkeroldx#<>[]:.-\n\t,PIDtypereloads", max_size=300))
@settings(max_examples=300, deadline=None)
@example("#<PID>\n1 master")
@example("#<reloads>\n1 master x")
@example("# workers\nx worker 1\n")
@example(f"{'9' * 5000} master 1")
def test_whatever_haproxy_says(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(haproxy, "ask", lambda *_arguments: text)
        with contextlib.suppress(S2DSException):
            haproxy._master("x")
    with contextlib.suppress(S2DSException):
        rows = haproxy.listener_rows("# pxname,svname,dcon,dses\n" + text + "\n" + f"a,FRONTEND,{text}")
        assert haproxy.refused(rows) >= 0


def test_a_table_with_a_field_that_is_too_long() -> None:
    with pytest.raises(replies.InvalidReply):
        haproxy.listener_rows("# pxname,svname\n" + "x" * 200000)
    with pytest.raises(replies.InvalidReply):
        haproxy.refused([{"dcon": "9" * 5000}])


@given(st.lists(st.text(alphabet="Uptime_sc:#pxname,FRONTEDBACK0123456789{}[]-", max_size=60), max_size=8))
@settings(max_examples=200, deadline=None)
@example(["Uptime_sec:" + "9" * 5000, "# pxname,svname,scur", "a,FRONTEND," + "9" * 5000, "x" * 200000 + ","])
@example(["{" + "[" * 100000])
@example(['{"status": {"since": "x"}}'])
def test_whatever_a_container_reports(lines: list[str]) -> None:
    with contextlib.suppress(S2DSException, ValueError):
        report = in_container.parse(lines)
        assert report.counters is None or replies.counters(report.counters)


@given(st.binary(max_size=400))
@settings(max_examples=300, deadline=None)
def test_whatever_the_kernel_would_say_of_a_socket(data: bytes) -> None:
    message = struct.pack("=B", socket.AF_INET) + bytes(socket_diag._MESSAGE.size - 1) + data
    assert socket_diag._socket(socket.IPPROTO_TCP, message).local.port == 0


# -- certificates


def pem(der: bytes) -> str:
    """Return DER as a certificate in PEM format."""
    return f"-----BEGIN CERTIFICATE-----\n{base64.encodebytes(der).decode()}-----END CERTIFICATE-----\n"


def read_or_refused(text: str) -> None:
    """A text is a certificate or a ValueError, soon."""
    began = time.monotonic()
    with contextlib.suppress(ValueError):
        x509_der.parse(text)
    assert time.monotonic() - began < 1


def der_of_a_real_one() -> bytes:
    """Return a certificate of a gateway."""
    made = x509.load_pem_x509_certificate(make_credentials(UID, "producer").certificate.encode())
    return base64.b64decode("".join(pem_lines(made)))


def pem_lines(made: x509.Certificate) -> list[str]:
    """Return the lines of a certificate in PEM format, without the first and the last."""
    from cryptography.hazmat.primitives.serialization import Encoding

    return made.public_bytes(Encoding.PEM).decode().splitlines()[1:-1]


def test_real_certificates_that_were_changed() -> None:
    good = der_of_a_real_one()
    assert x509_der.parse(pem(good)).names == [f"producer.{UID}"]
    dice = random.Random(7)
    for place in range(len(good)):
        for value in (0, 0x30, 0x80, 0x84, 0xFF, good[place] ^ 1, dice.randrange(256)):
            read_or_refused(pem(good[:place] + bytes([value]) + good[place + 1 :]))
        read_or_refused(pem(good[:place]))
        end = dice.randrange(place, len(good))
        read_or_refused(pem(good[:place] + good[end:]))
        read_or_refused(pem(good[:place] + good[place:end] + good[place:]))


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_anything_in_place_of_a_certificate(data: bytes) -> None:
    read_or_refused(pem(data))
    read_or_refused(data.decode("latin-1"))


def test_a_name_extension_without_content() -> None:
    """Such as ended in StopIteration."""

    def tagged(tag: int, content: bytes) -> bytes:
        return bytes([tag, 0x82]) + len(content).to_bytes(2, "big") + content

    time_ = tagged(0x17, b"260101000000Z")
    extension = tagged(0x30, tagged(0x06, b"\x55\x1d\x11"))
    fields = b"".join(
        (
            *(tagged(0x02, b"\1"), tagged(0x30, b""), tagged(0x30, b""), tagged(0x30, time_ + time_)),
            *(tagged(0x30, b""), tagged(0x30, b""), tagged(0xA3, tagged(0x30, extension))),
        )
    )
    with pytest.raises(ValueError, match="cannot be read"):
        x509_der.parse(pem(tagged(0x30, tagged(0x30, fields))))


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN CERTIFICATE-----" + " " * 60000,
        "-----BEGIN CERTIFICATE-----\n" + "A" * 60000,
        pem(b"\x30\x82\xbf\x00" + b"\x05\x00" * 24000),
        pem(b"\x30" * 40000),
        "x" * (1 << 24),
    ],
)
def test_certificates_that_would_take_long(text: str) -> None:
    read_or_refused(text)
