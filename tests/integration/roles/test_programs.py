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


def one_host_each(directory: Path, scripts: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Return a gateway for each proxy, whose program does nothing but this."""
    hosts: dict[str, dict[str, Any]] = {}
    for proxy, script in scripts.items():
        (directory / proxy).mkdir(exist_ok=True)
        hosts[proxy] = {
            "s2cs_root": str(directory / proxy / "root"),
            "s2cs_proxies": {proxy: {}},
            f"{proxy}_program": program(directory / proxy, script),
        }
    return hosts


def test_programs_that_are_too_old(gateway: Gateway, tmp_path: Path) -> None:
    hosts = one_host_each(tmp_path, OLD)
    outcome = gateway.provision(hosts=hosts)
    assert outcome.status == 2
    for proxy, script in OLD.items():
        found = re.findall(r"[0-9]+(?:\.[0-9]+)+", script)[0]
        said = f"{hosts[proxy][f'{proxy}_program']} is .{{1,12}} {found}, but data servers require [0-9.]+ or newer"
        assert re.search(said, words(outcome.output)), said
    assert len(re.findall("Newer versions", words(outcome.output))) >= len(OLD)


def test_program_that_checks_is_the_one_that_runs(gateway: Gateway, tmp_path: Path) -> None:
    hosts = one_host_each(tmp_path, NEW)
    assert gateway.provision(hosts=hosts).status == 0
    for proxy, variables in hosts.items():
        policy = json.loads(Path(variables["s2cs_root"], "etc/scistream/s2cs.json").read_text())
        assert policy["proxies"][proxy]["settings"] == {"program": variables[f"{proxy}_program"]}
        # Where both name one, they must not differ.
        variables["s2cs_proxies"] = {proxy: {"settings": {"program": "/nonexistent/program"}}}
    outcome = gateway.provision(hosts=hosts)
    assert outcome.status == 2 and words(outcome.output).count("contains /nonexistent/program") >= len(NEW)


def test_python_of_the_forwarder(gateway: Gateway, tmp_path: Path) -> None:
    path = program(tmp_path, 'exec /usr/bin/python3 "$@"')
    gateway.ok(s2ds_python=path)
    assert gateway.policy["proxies"]["s2ds"]["settings"] == {"python": path}
    outcome = gateway.provision(s2ds_python=program(tmp_path, "echo 3.6"))
    assert outcome.status == 2 and f"{path} is Python 3.6, but data servers require 3.8" in words(outcome.output)


def test_interpreter_without_jinja2(gateway: Gateway, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    bare = str(tmp_path / "bare" / "bin" / "python3")
    outcome = gateway.provision(s2cs_proxies={"nginx": {}}, ansible_python_interpreter=bare)
    said = words(outcome.output)
    assert outcome.status == 2 and " has no Jinja2 (" in said
    assert "which S2CS needs to render the configurations" in said
    assert str(tmp_path / "bare" / "bin") in said and "-m pip install jinja2" in said


def test_usr_that_is_read_only(gateway: Gateway) -> None:
    # Who is not root cannot mount one; the run counts and shows what it left out.
    if os.geteuid():
        pytest.skip("only root can mount a file system that is read-only")
    usr = gateway.directory / "usr"
    usr.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,mode=0755", "tests", str(usr)], check=True)
    try:
        outcome = gateway.provision(s2cs_program_dir=str(usr / "lib"))
    finally:
        subprocess.run(["umount", "--lazy", str(usr)], check=True)
    assert outcome.status == 2 and f"{usr}/lib cannot be created" in words(outcome.output)
    assert "set another directory in s2cs_program_dir" in words(outcome.output)


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
