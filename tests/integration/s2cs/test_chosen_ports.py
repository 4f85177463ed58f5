# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ports that a request specifies, and those that a session had before it was released."""

from __future__ import annotations

import contextlib
import socket
import sqlite3
import time
from collections.abc import Callable
from typing import Any

from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS, SECRET, own_uid
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import Application, exchange

REQUEST = {"role": "producer", "encryption": "none", "secret": SECRET}


def ports(session: dict[str, Any]) -> list[int]:
    """Return the ports of a session."""
    return [int(listener.rpartition(":")[2]) for listener in session["listeners"]]


def test_specified(s2cs: S2CS, application: Application) -> None:
    uid = own_uid()
    session = s2cs.stream(application.endpoint, uid=uid, num_conn=2, ports=[5121, 5120])
    assert ports(session) == [5121, 5120]
    assert exchange(session["listeners"][0]) == b"one:hello"
    # Again, with and without them; others change nothing.
    assert not s2cs.request(uid, num_conn=2, ports=[5121, 5120])["changed"]
    assert not s2cs.request(uid, num_conn=2)["changed"]
    s2cs.refused(
        "request", "ports is [5121, 5120], requested [5120, 5121]", uid=uid, num_conn=2, ports=[5120, 5121], **REQUEST
    )
    assert exchange(session["listeners"][0]) == b"one:hello"
    # Ports that are assigned in turn do not continue behind them, and skip them.
    assert ports(s2cs.request(own_uid())["session"]) == [5100]
    assert ports(s2cs.request(own_uid(), ports=5101)["session"]) == [5101]
    assert ports(s2cs.request(own_uid(), num_conn=20)["session"]) == [*range(5102, 5120), 5122, 5123]


def test_specified_and_refused(s2cs: S2CS) -> None:
    taken = own_uid()
    s2cs.request(taken, ports=[5105], labels={"stream": "tomo"})
    address = s2cs.policy["listen"]["producer"]
    for chosen, words in (
        ([5200], ["ports[0]", "5200", "5100-5139"]),
        ([80], ["ports[0]", "80", "5100-5139"]),
        ([0], ["ports[0]", "1 to 65535"]),
        ([70000], ["ports[0]", "1 to 65535"]),
        ([5100, 5101], ["ports", "num_conn is 1"]),
        ([], ["ports", "num_conn is 1"]),
        ([5105], [f"5105 at {address} is taken by session {taken} (producer, stream", "tomo", "other ports"]),
    ):
        s2cs.refused("request", *words, uid=own_uid(), ports=chosen, **REQUEST)
        assert words[0] in s2cs.call("request", check=True, uid=own_uid(), ports=chosen, **REQUEST)["msg"]
    s2cs.refused("request", "ports[1]", "duplicate", uid=own_uid(), num_conn=2, ports=[5107, 5107], **REQUEST)
    with socket.create_server((address, 5110)), socket.create_server((address, 5111)):
        message = s2cs.refused("request", "5110", "PID", uid=own_uid(), num_conn=3, ports=[5110, 5111, 5112], **REQUEST)
        assert "5111" in message and "5112" not in message
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind((address, 5113))
        s2cs.refused("request", "5113", "PID", uid=own_uid(), ports=[5113], **REQUEST)
    assert ports(s2cs.request(own_uid(), num_conn=3, ports=[5110, 5111, 5112])["session"]) == [5110, 5111, 5112]


def test_specified_by_some_sessions_of_a_call(s2cs: S2CS) -> None:
    items: list[dict[str, Any]] = [{"uid": own_uid(), **REQUEST} for _unused in range(4)]
    items[2]["ports"] = [5100]
    items[3]["ports"] = [5101]
    predicted = s2cs.call("request", check=True, sessions=items)
    done = s2cs.done("request", sessions=items)
    for result in (predicted, done):
        assert [ports(session) for session in result["sessions"]] == [[5102], [5103], [5100], [5101]]
    s2cs.done("release", sessions=[{"uid": item["uid"]} for item in items])
    items[3]["ports"] = [5100]
    s2cs.refused("request", "ports", "5100", items[2]["uid"], items[3]["uid"], "both", sessions=items)
    # The other role has another address.
    items[3]["role"] = "consumer"
    s2cs.done("request", sessions=items)


def test_a_stream_that_is_opened_anew_gets_its_ports(s2cs: S2CS, application: Application) -> None:
    uid, other = own_uid(), own_uid()
    before = s2cs.stream(application.endpoint, uid=uid, num_conn=2)
    assert ports(before) == [5100, 5101]
    s2cs.done("release", uid=uid)
    # They are not kept from others, who get them when it is their turn, or by name.
    assert ports(s2cs.request(other)["session"]) == [5102]
    assert (
        s2cs.call("request", check=True, uid=uid, num_conn=2, **REQUEST)["session"]["listeners"]
        == (before["listeners"])
    )
    assert s2cs.stream(application.endpoint, uid=uid, num_conn=2)["listeners"] == before["listeners"]
    # Assigned in turn, the next ones are behind the last one that was.
    assert ports(s2cs.request(own_uid())["session"]) == [5103]
    s2cs.done("release", uid=uid)
    taken = s2cs.request(own_uid(), ports=[5101])["session"]
    assert ports(s2cs.request(uid, num_conn=3)["session"]) == [5100, 5104, 5105]
    s2cs.done("release", uid=uid)
    s2cs.done("release", uid=taken["uid"])
    # Of a session that was only reserved, nothing is remembered in place of that.
    assert ports(s2cs.request(uid, num_conn=2)["session"]) == [5100, 5101]


def test_an_expired_stream_gets_its_ports(s2cs: S2CS, application: Application) -> None:
    uid = own_uid()
    before = s2cs.stream(application.endpoint, uid=uid, lifetime=1, ports=[5117])
    time.sleep(1.1)
    predicted = s2cs.call("request", check=True, uid=uid, **REQUEST)["session"]["listeners"]
    assert predicted == before["listeners"] == s2cs.request(uid)["session"]["listeners"]


def test_ports_of_the_others_that_are_opened_anew(make_s2cs: Callable[..., S2CS]) -> None:
    """A stream that is new takes none from those that are opened after it in the same call, unless it has to."""
    s2cs = make_s2cs(port_range=[5100, 5103])
    old = [own_uid(), own_uid()]
    for uid in old:
        s2cs.request(uid)
    for uid in [own_uid(), own_uid()]:
        s2cs.request(uid)
        s2cs.done("release", uid=uid)
    s2cs.done("release", sessions=[{"uid": uid} for uid in old])
    items: list[dict[str, Any]] = [{"uid": own_uid(), "num_conn": 2, **REQUEST}]
    items += [{"uid": uid, **REQUEST} for uid in old]
    done = s2cs.done("request", sessions=items)
    assert [ports(session) for session in done["sessions"]] == [[5102, 5103], [5100], [5101]]
    s2cs.done("release", sessions=[{"uid": item["uid"]} for item in items])
    items[0]["num_conn"] = 3
    s2cs.refused("request", "0 are free", sessions=items)
    # It had the first two itself.
    assert ports(s2cs.done("request", sessions=items[:2])["sessions"][0]) == [5102, 5103, 5101]


def test_a_store_from_before(s2cs: S2CS, application: Application) -> None:
    """The table is made when it is needed, and a store without it, or with nonsense in it, does as well."""
    uid = own_uid()
    before = s2cs.stream(application.endpoint, uid=uid)
    assert s2cs.rows("previous_port") == []
    s2cs.done("release", uid=uid)
    assert len(s2cs.rows("previous_port")) == 1
    for nonsense in ('["x"]', "{", "[5100,5100]", "[99999]", "[[]]", "null"):
        with contextlib.closing(sqlite3.connect(s2cs.state / "s2cs.db")) as database:
            database.execute("UPDATE previous_port SET ports = ?", [nonsense])
            database.commit()
        assert s2cs.call("request", check=True, uid=uid, **REQUEST)["session"]["listeners"] != before["listeners"]
