# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What somebody between the gateways sees, and what comes of it when he changes something."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import (
    Application,
    connect,
    exchange,
)
from ansible_collections.scistream.gateway.tests.integration.security.relay import Relay
from ansible_collections.scistream.gateway.tests.integration.security.stream import EncryptedStream

MakeStream = Callable[[str, str], EncryptedStream]
PAYLOAD = b"the magnetization of sample 42 " * 4096


def entropy(data: bytes) -> float:
    """Return bits for each byte: almost 8 for what is encrypted well, 4 or so for a text."""
    counts = Counter(data)
    return -sum(count / len(data) * math.log2(count / len(data)) for count in counts.values())


def test_nothing_to_be_read(make_stream: MakeStream, application: Application, proxy: str) -> None:
    stream = make_stream(proxy, application.endpoint)
    with Relay(stream.admit()) as relay:
        listener = stream.lead(relay.endpoint)
        assert exchange(listener, PAYLOAD).endswith(PAYLOAD)
        for way in ("up", "down"):
            seen = bytes(relay.seen[way])
            # A handshake record of TLS, whose version field says 1.0 or 1.2 for the sake of old routers.
            assert seen[:2] == b"\x16\x03"
            assert len(seen) > len(PAYLOAD) and entropy(seen[2000:]) > 7.9
            for word in (b"magnetization", b"sample 42", application.name + b":", stream.uid.encode()):
                assert word not in seen, f"{word!r} is to be read on its way {way}"
    stream.release()


def test_without_encryption_the_same_search_finds_it(application: Application) -> None:
    """Else the test above would prove nothing."""
    with Relay(application.endpoint) as relay:
        assert exchange(relay.endpoint, PAYLOAD).endswith(PAYLOAD)
        assert b"magnetization" in bytes(relay.seen["up"]) and entropy(bytes(relay.seen["up"])[2000:]) < 5


def test_a_changed_bit_is_never_delivered(make_stream: MakeStream, application: Application, proxy: str) -> None:
    stream = make_stream(proxy, application.endpoint)
    position = len(PAYLOAD) // 2

    def flip(data: bytes, first: int) -> bytes:
        offset = position - first
        if not 0 <= offset < len(data):
            return data
        return data[:offset] + bytes([data[offset] ^ 1]) + data[offset + 1 :]

    with Relay(stream.admit(), downward=flip) as relay:
        listener = stream.lead(relay.endpoint)
        expected = application.name + b":" + PAYLOAD
        received, _end = collect(listener, PAYLOAD)
        assert len(received) < len(expected) and expected.startswith(received)
    stream.release()


def test_an_end_that_is_no_end(make_stream: MakeStream, application: Application) -> None:
    """Somebody ends the TCP connection in good order in the middle: the application must not take that for all.

    Of the data servers ours alone tells the difference (docs/security.md).
    """
    stream = make_stream("s2ds", application.endpoint)
    with Relay(stream.admit(), cut=len(PAYLOAD) // 2) as relay:
        received, end = collect(stream.lead(relay.endpoint), PAYLOAD)
        assert len(received) < len(PAYLOAD) and end == "reset"
    stream.release()


def collect(listener: str, data: bytes) -> tuple[bytes, str]:
    """Send data and return what comes back, and how it ended: in good order, by a reset, or not at all."""
    received = b""
    with connect(listener) as connection:
        try:
            connection.sendall(data)
            while len(received) < len(data) + 4:
                part = connection.recv(65536)
                if not part:
                    return received, "in order"
                received += part
        except ConnectionError:
            return received, "reset"
    return received, "open"
