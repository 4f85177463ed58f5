# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Streams whose producer's gateway connects to the consumer's, as the modules see them; data flows through them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ansible_collections.scistream.gateway.tests.integration.proxies.certificates import of_gateway
from ansible_collections.scistream.gateway.tests.integration.s2cs import machine
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS, SECRET, own_address, own_uid
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import (
    Application,
    ask,
    connect,
    eventually,
    exchange,
)
from ansible_collections.scistream.gateway.tests.integration.s2cs.test_life import four_times


class Stream:
    """Both sides of a stream, each on a gateway of its own."""

    def __init__(self, make: Callable[..., S2CS], **options: Any) -> None:
        self.producer, self.consumer = make(), make()
        self.sides = {"producer": self.producer, "consumer": self.consumer}
        self.uid = own_uid()
        self.options = {"dial": "producer", "encryption": "none", **options}

    def which(self, role: str) -> dict[str, Any]:
        return {"uid": self.uid, "role": role}

    def call(self, action: str, role: str, **options: Any) -> dict[str, Any]:
        """Send a message to one side, in check mode and twice; returns the session."""
        session: dict[str, Any] = four_times(self.sides[role], action, **self.which(role), **options)["session"]
        return session

    def waiting(self, role: str) -> int:
        """Return how many connections wait at one side."""
        dialled = self.sides[role].info(self.uid, role)["dialled"]
        return 0 if dialled is None else int(dialled["waiting"])

    def wait(self, number: int) -> None:
        for role in self.sides:
            eventually(f"{number} connections wait at the {role}'s side", partial(self._waits, role, number))

    def _waits(self, role: str, number: int) -> bool:
        return self.waiting(role) == number

    def runs(self, role: str) -> bool:
        """Return whether the data server of a side is running."""
        return bool(self.sides[role].info(self.uid, role)["running"])


def test_life(make_s2cs: Callable[..., S2CS], application: Application, other_application: Application) -> None:
    stream = Stream(make_s2cs, num_conn=2)
    consumer = stream.call("request", "consumer", secret=SECRET, **stream.options)
    inside, outside = (stream.consumer.policy["listen"][role] for role in ("consumer", "producer"))
    assert consumer["listeners"] == [f"{inside}:5100", f"{inside}:5101"]
    assert consumer["peer_listeners"] == [f"{outside}:5100", f"{outside}:5101"]
    assert stream.consumer.listening() == {inside: [5100, 5101], outside: [5100, 5101]}
    producer = stream.call("request", "producer", secret=SECRET, **stream.options)
    assert producer["listeners"] == producer["peer_listeners"] == []
    stream.call("hello", "consumer", secret=SECRET)
    stream.call(
        "hello", "producer", secret=SECRET, producer_listeners=[application.endpoint, other_application.endpoint]
    )
    assert exchange(consumer["listeners"][0]) == b""

    which = stream.which("producer")
    stream.producer.refused("update", "peer_listeners", "specify where the consumer's gateway waits", **which)
    stream.producer.refused("update", "one for each connection", **which, peer_listeners=[f"{outside}:5100"])
    stream.producer.refused("update", "clients", "nothing connects to it", **which, clients=["127.0.0.1"])
    stream.consumer.refused(
        *("update", "remote_listeners", "the other gateway connects to it"),
        **stream.which("consumer"),
        remote_listeners=[f"{outside}:5100"],
    )
    opened = stream.call("update", "consumer", peer_clients=["127.0.0.0/8"])
    assert opened["state"] == "streaming" and opened["targets"] == [] and opened["peer_clients"] == ["127.0.0.0/8"]
    dials = stream.call("update", "producer", peer_listeners=consumer["peer_listeners"])
    assert dials["targets"] == [application.endpoint, other_application.endpoint]
    assert not any(stream.producer.listening().values())
    stream.wait(4)
    assert [exchange(item, b"frame") for item in consumer["listeners"]] == [b"one:frame", b"two:frame"]

    with connect(consumer["listeners"][0]) as established:
        assert ask(established, b"before") == b"one:before"
        stream.wait(4)
        counters = stream.consumer.info(stream.uid, "consumer")["counters"]
        assert counters["connections"]["open"] == 1
        swapped = [other_application.endpoint, application.endpoint]
        stream.call("update", "producer", remote_listeners=swapped)
        stream.wait(4)
        assert [exchange(item, b"frame") for item in consumer["listeners"]] == [b"two:frame", b"one:frame"]
        assert ask(established, b"after") == b"after"

    # The other side, and what is open already, are the same as before.
    options = {**stream.options, "dial": "consumer"}
    for role, side in stream.sides.items():
        side.refused(
            "request", 'dial is "producer", requested "consumer"', secret=SECRET, **stream.which(role), **options
        )
    for role, side in stream.sides.items():
        assert side.done("release", **stream.which(role))["released"][0]["role"] == role
        assert side.left() == []


def test_encrypted_and_restarted(make_s2cs: Callable[..., S2CS], application: Application) -> None:
    stream = Stream(make_s2cs, encryption="tls")
    pairs = {role: of_gateway(role, stream.uid) for role in stream.sides}
    made = {}
    for role, side in stream.sides.items():
        made[role] = side.done("request", **stream.which(role), secret=SECRET, **stream.options)["session"]
        listeners = {"producer_listeners": [application.endpoint]} if role == "producer" else {}
        side.done("hello", **stream.which(role), secret=SECRET, **listeners, **pairs[role].hello)
    options: dict[str, Any] = {"peer_certificate": pairs["producer"].certificate}
    stream.call("update", "consumer", **options)
    options = {"peer_certificate": pairs["consumer"].certificate, "peer_listeners": made["consumer"]["peer_listeners"]}
    stream.call("update", "producer", **options)
    stream.wait(2)
    (listener,) = made["consumer"]["listeners"]
    assert exchange(listener, b"frame") == b"one:frame"
    for role, side in stream.sides.items():
        machine.kill(side.supervisor(made[role])["child"])
        eventually("it is running again", partial(stream.runs, role))
        stream.wait(2)
        assert exchange(listener, b"frame") == b"one:frame"


def test_refused_before_anything_changes(make_s2cs: Callable[..., S2CS]) -> None:
    s2cs = make_s2cs(proxies={"s2ds": {"settings": {"kernel_tls": True}}, "nginx": {}})
    request = {"uid": own_uid(), "dial": "producer", "secret": SECRET}
    for role in ("producer", "consumer"):
        s2cs.refused("request", "dial", "kernel_tls", role=role, **request)
        s2cs.refused("request", "dial", "nginx does not support producer", role=role, proxy="nginx", **request)
        s2cs.refused("request", "dial", "transport udp", role=role, proxy="nginx", transport="udp", **request)
    s2cs.refused("request", "ports", "omit it", role="producer", ports=[5100], **request)
    inside, outside = own_address(), own_address()
    s2cs.write_policy(proxies=None, egress={"consumer": "127.0.0.1"}, listen={"consumer": inside})
    s2cs.refused("request", "add listen.producer", role="consumer", **request)
    plain = {"uid": request["uid"], "role": "consumer"}
    s2cs.write_policy(listen={"consumer": inside, "producer": outside})
    s2cs.request(**plain)
    s2cs.hello(**plain)
    which = {**plain, "remote_listeners": ["127.0.0.1:7000"]}
    s2cs.refused("update", "peer_clients", "has dial consumer", **which, peer_clients=["127.0.0.1"])
