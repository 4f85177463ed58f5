# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the templates for listeners write, read by the software that it is for: HAProxy and a DNS server."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.listeners_file import (
    check_template,
    write_listeners,
)
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import (
    Application,
    eventually,
    exchange,
    listening,
)

SBIN = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"


def program(name: str) -> str:
    found = shutil.which(name, path=SBIN)
    assert found, f"there is no {name}: see tests/packages.txt"
    return found


def free_port() -> int:
    """Return a port that neither TCP nor UDP uses."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            port: int = tcp.getsockname()[1]
            with contextlib.suppress(OSError):
                udp.bind(("127.0.0.1", port))
                return port


@contextlib.contextmanager
def running(*command: str) -> Iterator[None]:
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
            assert process.poll() is None
        finally:
            process.terminate()


def session(*listeners: str, transport: str = "tcp") -> dict[str, Any]:
    gateways = {"producer": "gw-aps", "consumer": "gw-alcf"}
    return {"uid": "", "connect_to": listeners, "gateways": gateways, "transport": transport}


def test_haproxy_connects_to_the_servers_of_the_template(tmp_path: Path) -> None:
    configuration, servers, port = tmp_path / "application.cfg", tmp_path / "listeners.cfg", free_port()
    configuration.write_text(
        "defaults\n    mode tcp\n    retries 3\n    option redispatch 1\n"
        "    timeout connect 5s\n    timeout client 1m\n    timeout server 1m\n"
        f"frontend application\n    bind 127.0.0.1:{port}\n    default_backend tomography\n"
    )
    command = [program("haproxy"), "-f", str(configuration), "-f", str(servers)]
    with Application("gw-alcf") as gateway:
        # HAProxy goes on with the next server if one does not answer.
        streams = {"tomography": session("[::1]:1", gateway.endpoint), "beam..Line_2": session("[2001:db8::]:5100")}
        write_listeners(streams, str(servers), check_template("listeners_template", "haproxy"))
        checked = subprocess.run([*command, "-c"], check=True, capture_output=True, text=True, timeout=30)
        assert "[WARNING]" not in checked.stdout + checked.stderr
        with running(*command, "-db"):
            eventually("HAProxy listens", lambda: port in listening("127.0.0.1"))
            assert exchange(f"127.0.0.1:{port}") == b"gw-alcf:hello"


def test_a_dns_server_answers_with_the_records_of_the_template(tmp_path: Path) -> None:
    zone, records, port = tmp_path / "zone", tmp_path / "listeners.zone", free_port()
    # As many records of a name as BIND accepts by default.
    many = [f"10.2.{number // 10}.{number % 10}:{5100 + number}" for number in range(100)]
    streams = {
        "tomography": session("10.2.0.1:5100", "[2001:db8::]:5101", "[::1]:5102"),
        "Beam.Line_2": session("10.2.0.1:5103", transport="both"),
        "x" * 63: session(*many),
    }
    write_listeners(streams, str(records), check_template("listeners_template", "dns_srv"))
    zone.write_text(
        f"@ 60 IN SOA ns.example.org. root.example.org. 1 3600 600 86400 60\n@ 60 IN NS ns.example.org.\n"
        f"$INCLUDE {records}\n"
    )
    (tmp_path / "named.conf").write_text(
        f'options {{ directory "{tmp_path}"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; '
        f'pid-file none; session-keyfile "{tmp_path}/session.key"; recursion no; dnssec-validation no; }};\n'
        'controls { };\nzone "streams.example.org" { type primary; file "zone"; };\n'
    )
    # Stricter than the server.
    strict = ["-k", "fail", "-n", "fail", "-m", "fail", "-i", "local"]
    check = [program("named-checkzone"), *strict, "streams.example.org", str(zone)]
    subprocess.run(check, check=True, timeout=30)

    def ask(name: str, kind: str) -> list[str]:
        options = ["@127.0.0.1", "-p", str(port), "+short", "+tries=1", "+time=5"]
        command = [program("dig"), *options, f"{name}.streams.example.org", kind]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        return sorted(done.stdout.splitlines()) if done.returncode == 0 else []

    def addresses(found: list[str]) -> set[str]:
        """Look up the targets of SRV records as an application does."""
        answers = set()
        for line in found:
            priority, weight, number, target = line.split()
            assert (priority, weight) == ("10", "10") and target.endswith(".streams.example.org.")
            name = target.removesuffix(".streams.example.org.")
            (address,) = ask(name, "A") or ask(name, "AAAA")
            answers.add(f"[{address}]:{number}" if ":" in address else f"{address}:{number}")
        return answers

    with running(program("named"), "-f", "-n", "1", "-c", str(tmp_path / "named.conf")):
        eventually("the DNS server answers", lambda: ask("_scistream._tcp.tomography", "SRV"))
        assert addresses(ask("_scistream._tcp.tomography", "SRV")) == set(streams["tomography"]["connect_to"])
        for protocol in ("tcp", "udp"):
            assert addresses(ask(f"_scistream._{protocol}.beam.line_2", "SRV")) == {"10.2.0.1:5103"}
        assert ask("_scistream._udp.tomography", "SRV") == []
        assert len(ask(f"_scistream._tcp.{'x' * 63}", "SRV")) == 100
