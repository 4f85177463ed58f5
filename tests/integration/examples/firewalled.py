# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A firewall for the producer's network, and applications that notice every byte that is missing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml

from ansible_collections.scistream.gateway.tests.integration.examples.facilities import Host
from ansible_collections.scistream.gateway.tests.integration.examples.site import Site

PORT = 7100
# Answers with the digest of what it received, after the end of that, and then with as many bytes.
_PRODUCER = """
import hashlib, socketserver, sys
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        received = self.rfile.read()
        self.wfile.write(hashlib.sha256(received).hexdigest().encode() + received[::-1])
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
server = Server((sys.argv[1], int(sys.argv[2])), Handler)
print("ready", flush=True)
server.serve_forever()
"""
_CONSUMER = """
import hashlib, json, os, socket, sys, threading
address, number, size = json.loads(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
wrong = []
def exchange(index):
    host, port = address[index % len(address)].rsplit(":", 1)
    data = os.urandom(size + index)
    try:
        with socket.create_connection((host, int(port)), 20) as connection:
            connection.settimeout(20)
            def send():
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
            sender = threading.Thread(target=send)
            sender.start()
            answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
            sender.join()
        if answer != hashlib.sha256(data).hexdigest().encode() + data[::-1]:
            wrong.append(f"{len(answer)} of {len(data) + 64} bytes, or others")
    except OSError as error:
        wrong.append(f"{type(error).__name__}: {error}")
threads = [threading.Thread(target=exchange, args=(index,)) for index in range(number)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps(wrong))
"""


@contextmanager
def application(host: Host, address: str) -> Iterator[None]:
    """Run the producer application on a host."""
    command = [*host.enter("--net"), sys.executable, "-c", _PRODUCER, address, str(PORT)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        yield
    finally:
        process.kill()
        process.communicate()


def exchange(host: Host, listeners: list[str], number: int = 1, size: int = 200_000) -> list[str]:
    """Send data from a host through listeners, all at once, and return what went wrong with it."""
    found: list[str] = json.loads(
        host.run(sys.executable, "-c", _CONSUMER, json.dumps(listeners), str(number), str(size))
    )
    return found


@contextmanager
def firewall(gateway: Host) -> Iterator[None]:
    """Drop every packet from outside that is no answer, as the firewall of a producer's network does."""
    rules = (
        ["INPUT", "-i", "wan", "-m", "conntrack", "--ctstate", "ESTABLISHED", "-j", "ACCEPT"],
        ["INPUT", "-i", "wan", "-j", "DROP"],
    )
    for rule in rules:
        gateway.run("iptables", "-w", "-A", *rule)
    try:
        yield
    finally:
        for rule in rules:
            gateway.run("iptables", "-w", "-D", *rule)


def stream(**more: Any) -> dict[str, Any]:
    """Return a stream whose producer's gateway connects to the consumer's."""
    return {
        "name": "detector",
        "dial": "producer",
        "producer": {"gateway": "gw-aps", "listeners": [f"10.1.0.5:{PORT}"]},
        "consumer": {"gateway": "gw-alcf"},
        "num_conn": 2,
        **more,
    }


def describe(site: Site, *streams: dict[str, Any]) -> None:
    """Write a description of streams."""
    (site.directory / "dial.yml").write_text(yaml.safe_dump({"streams": list(streams)}))


def sessions(site: Site) -> list[dict[str, Any]]:
    """Return the sessions of both gateways whose producer's gateway connects to the consumer's."""
    task = {"scistream.gateway.s2cs_info": {}, "delegate_to": "{{ item }}", "loop": ["gw-aps", "gw-alcf"]}
    answers = site.tasks([task])
    found = [session for answer in answers for session in answer["result"].get("sessions", [])]
    return [session for session in found if session["dial"] == "producer"]


def listeners(site: Site) -> list[str]:
    """Return where the consumer application connects to the only stream."""
    (found,) = [session["listeners"] for session in sessions(site) if session["role"] == "consumer"]
    return list(found)
