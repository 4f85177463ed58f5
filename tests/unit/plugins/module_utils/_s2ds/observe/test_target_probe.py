# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether somebody listens at a target."""

from __future__ import annotations

import socket
import time

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.target_probe import find_unreachable


@pytest.mark.parametrize(("address", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)])
def test_a_listener_gets_one_connection_without_a_byte(address: str, family: socket.AddressFamily) -> None:
    with socket.create_server((address, 0), family=family) as server:
        server.settimeout(5)
        target = (address, server.getsockname()[1])
        assert find_unreachable([target, target]) == []
        connection, _peer = server.accept()
        with connection:
            connection.settimeout(5)
            assert connection.recv(10) == b""
        server.settimeout(0.2)
        with pytest.raises(socket.timeout):
            server.accept()


def test_it_comes_from_where_the_stream_will() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)
        assert find_unreachable([server.getsockname()], source="127.0.0.9") == []
        connection, peer = server.accept()
        connection.close()
        assert peer[0] == "127.0.0.9"


def test_why_nobody_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    found = find_unreachable([("127.0.0.1", port)])
    assert [(item.host, item.port, item.reason) for item in found] == [("127.0.0.1", port, "connection refused")]


def test_targets_that_say_nothing_are_waited_for_together() -> None:
    # A queue that is full does not answer.
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        port = server.getsockname()[1]
        waiting = [socket.socket() for _number in range(4)]
        try:
            for connection in waiting:
                connection.setblocking(False)
                connection.connect_ex(("127.0.0.1", port))
            time.sleep(0.1)
            started = time.monotonic()
            found = find_unreachable([("127.0.0.1", port), ("127.0.0.2", 1), ("127.0.0.3", 1)], timeout=0.5)
            assert time.monotonic() - started < 3
        finally:
            for connection in waiting:
                connection.close()
    reasons = {item.host: item.reason for item in found}
    assert reasons["127.0.0.1"] == "no answer for 0.5 s"
    assert reasons["127.0.0.2"] == reasons["127.0.0.3"] == "connection refused"
