# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the roles find on a host, and what they leave alone in a site's own play."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.tests.integration.python import of_gateways
from ansible_collections.scistream.gateway.tests.integration.roles.test_gateway_playbook import LISTEN, Gateway, gateway

__all__ = ["gateway"]

# What the programs of Debian 11 say, and where.
OLD = {
    "haproxy": "echo HA-Proxy version 2.2.9-2+deb11u7 2025/01/20 - https://haproxy.org/",
    "nginx": "echo nginx version: nginx/1.18.0 >&2",
    "stunnel": "echo stunnel 5.56 on x86_64-pc-linux-gnu platform >&2",
}
NEW = {
    "haproxy": "echo HAProxy version 3.0.11-1+deb13u2 2026/02/02 - https://haproxy.org/",
    "nginx": "echo nginx version: nginx/1.26.3 >&2",
    "stunnel": "echo Initializing inetd mode configuration >&2; echo stunnel 5.74 on x86_64-pc-linux-gnu platform >&2",
}


def words(text: str) -> str:
    """Return an output on one line."""
    return re.sub(r"\s+", " ", text)


def program(directory: Path, script: str) -> str:
    """Return the path of a program that does nothing but this."""
    path = directory / "program"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def host(directory: Path, name: str, **variables: Any) -> dict[str, Any]:
    """Return the variables of a gateway under a directory of its own."""
    (directory / name).mkdir()
    return {"s2cs_root": str(directory / name / "root"), **variables}


# A Python that measures as the forwarder does where the kernel has TLS, and says how it was called.
MEASURES = """\
case "$*" in
*--calibrate*)
    echo "$*" >> {calls}
    test -e {done} && exit
    echo measured
    case "$*" in *--check) ;; *) touch {done} ;; esac ;;
*) exec /usr/bin/python3 "$@" ;;
esac"""


def test_program_that_checks_is_the_one_that_runs(gateway: Gateway, tmp_path: Path) -> None:
    """And encryption is measured once, and only where the result decides."""
    hosts = {name: host(tmp_path, name, s2cs_proxies={name: {}}) for name in NEW}
    for proxy, variables in hosts.items():
        variables[f"{proxy}_program"] = program(tmp_path / proxy, NEW[proxy])
    settings: dict[str, dict[str, Any]] = {"auto": {}, "false": {"kernel_tls": False}}
    calls = {name: tmp_path / name / "calls" for name in settings}
    for name, chosen in settings.items():
        hosts[name] = host(tmp_path, name, s2cs_proxies={"s2ds": {"settings": chosen}})
        script = MEASURES.format(calls=calls[name], done=tmp_path / name / "done")
        hosts[name]["s2ds_python"] = program(tmp_path / name, script)
        calls[name].touch()
    assert gateway.provision("--forks", "4", hosts=hosts).status == 0
    for name, variables in hosts.items():
        policy = json.loads(Path(variables["s2cs_root"], "etc/scistream/s2cs.json").read_text())
        proxy, key = ("s2ds", "python") if name in settings else (name, "program")
        expected = {key: variables[f"{proxy}_{key}"], **settings.get(name, {})}
        assert policy["proxies"][proxy]["settings"] == expected
    measuring = {name: hosts[name] for name in settings}
    again = gateway.provision("--forks", "2", "--check", "--tags", "s2ds", hosts=measuring)
    assert again.status == 0 and again.changed == 0
    command = f"-I {hosts['auto']['s2cs_root']}/usr/local/lib/scistream/s2ds --calibrate"
    assert calls["auto"].read_text().splitlines() == [command, f"{command} --check"]
    assert calls["false"].read_text() == ""


@pytest.fixture
def usr(tmp_path: Path) -> Iterator[Path]:
    """A directory that nothing can be made in: for root, one on a file system that is read-only."""
    path = tmp_path / "usr"
    path.mkdir(mode=0o755 if os.geteuid() == 0 else 0o555)
    if os.geteuid():
        yield path
        return
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,mode=0755", "tests", str(path)], check=True)
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


def test_what_does_not_do(gateway: Gateway, tmp_path: Path, usr: Path) -> None:
    """What is too old, lacks something, cannot be written, or is not what the policy names: each is refused."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    bare = str(tmp_path / "bare" / "bin" / "python3")
    hosts = {
        "bare-jinja2": host(tmp_path, "bare-jinja2", s2cs_proxies={"nginx": {}}, ansible_python_interpreter=bare),
        "read-only": host(tmp_path, "read-only", s2cs_program_dir=str(usr / "lib")),
        "old-s2ds": host(tmp_path, "old-s2ds"),
    }
    hosts["old-s2ds"]["s2ds_python"] = python = program(tmp_path / "old-s2ds", "echo 3.6")
    expected = {
        "bare-jinja2": [
            *(" has no Jinja2 (", "which S2CS needs to render the configurations"),
            *(str(tmp_path / "bare" / "bin"), "-m pip install jinja2"),
        ],
        "read-only": [f"{usr}/lib cannot be created", "set another directory in s2cs_program_dir"],
        "old-s2ds": [f"{python} is Python 3.6, but data servers require 3.8"],
    }
    for proxy in NEW:
        old, other = hosts[f"old-{proxy}"], hosts[f"other-{proxy}"] = (
            host(tmp_path, f"old-{proxy}", s2cs_proxies={proxy: {}}),
            host(tmp_path, f"other-{proxy}", s2cs_proxies={proxy: {"settings": {"program": "/nonexistent/program"}}}),
        )
        old[f"{proxy}_program"] = program(tmp_path / f"old-{proxy}", OLD[proxy])
        other[f"{proxy}_program"] = program(tmp_path / f"other-{proxy}", NEW[proxy])
        version = re.findall(r"[0-9]+(?:\.[0-9]+)+", OLD[proxy])[0]
        expected[f"old-{proxy}"] = [f"{old[f'{proxy}_program']} is ", f" {version}, but data servers", "Newer versions"]
        expected[f"other-{proxy}"] = ["contains /nonexistent/program"]
    outcome = gateway.provision("--forks", "4", hosts=hosts)
    assert outcome.status == 2
    said = refusals(outcome.output)
    missed = {name: [text for text in texts if text not in said.get(name, "")] for name, texts in expected.items()}
    assert not {name: (texts, said.get(name)) for name, texts in missed.items() if texts}


def refusals(output: str) -> dict[str, str]:
    """Return what each host failed with, on one line."""
    found: dict[str, str] = {}
    for text in re.split(r"^(?=(?:ok|changed|skipping|fatal|failed|included|TASK|PLAY)\b)", output, flags=re.M):
        if match := re.match(r"(?:fatal|failed): \[([^\]]+)\]", text):
            found[match[1]] = found.get(match[1], "") + words(text)
    return found


def test_play_of_a_site(gateway: Gateway, tmp_path: Path) -> None:
    """Roles in a loop, with a handler that waits: neither is disturbed."""
    play = {
        "hosts": "all",
        "gather_facts": False,
        "vars": {"ansible_python_interpreter": of_gateways(), "s2cs_root": str(gateway.root), "s2cs_listen": LISTEN},
        "tasks": [
            {
                "name": "Change something",
                "ansible.builtin.command": {"argv": ["true"]},
                "notify": ["Restart the site's own"],
                "loop": ["one"],
            },
            {
                "name": "Roles in a loop",
                "ansible.builtin.include_role": {"name": "scistream.gateway.{{ item }}"},
                "loop": ["s2cs", "s2ds"],
            },
            {"name": "After the roles", "ansible.builtin.debug": {"msg": "here"}},
        ],
        "handlers": [{"name": "Restart the site's own", "ansible.builtin.debug": {"msg": "there"}}],
    }
    (tmp_path / "site.json").write_text(json.dumps([play]))
    outcome = gateway.run(str(tmp_path / "site.json"), "-i", "localhost,", "-c", "local")
    assert outcome.status == 0 and "already in use" not in outcome.output
    assert outcome.output.index("After the roles") < outcome.output.index("Restart the site's own")
