# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook ``gateway`` and its roles, for gateways under roots of their own; the host itself stays as it is."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.tests.integration.python import of_gateways

PLAYBOOK = shutil.which("ansible-playbook") or str(Path(sys.executable).with_name("ansible-playbook"))
LISTEN = {"producer": "127.0.0.2", "consumer": "127.0.0.3"}


BAD_VALUES: list[tuple[dict[str, Any], str]] = [
    ({"s2cs_root": "relative"}, "s2cs_root must be an absolute path"),
    ({"s2cs_state_dir": "/var/lib/../x"}, "s2cs_state_dir must be an absolute path"),
    ({"s2cs_listen": {}}, "s2cs_listen has no address"),
    ({"s2cs_listen": {"producer": "gw.example.org"}}, "s2cs_listen.producer: "),
    (
        {"s2cs_listen": {"inbound": "127.0.0.2"}},
        "is not allowed: must be an object with the keys producer and consumer",
    ),
    ({"s2cs_targets": {"producr": []}}, "is not allowed: must be an object with the keys producer and consumer"),
    ({"s2cs_clients": ["10.1.0.0/16"]}, "is not allowed: must be an object with the keys producer and consumer"),
    ({"s2cs_limits": {"num_con": 4}}, "must be an object with the keys num_conn, sessions, lifetime, owner"),
    ({"s2cs_limits": {"owner": {"sesions": 4}}}, "s2cs_limits.owner: "),
    ({"s2cs_janus": {"ulr": "https://janus.example.org"}}, "the keys are url, node, password_file, "),
    ({"s2cs_janus": ["https://janus.example.org"]}, "s2cs_janus: "),
    ({"s2cs_proxies": ["haproxy"]}, "s2cs_proxies: "),
    ({"s2cs_proxies": {"s2ds": {"setings": {}}}}, "the allowed keys are runtimes and settings"),
    ({"s2cs_hello_timeout": "soon"}, "is not allowed: must be an integer from 1 to 604800"),
    ({"s2cs_supervisor": "runit"}, "is not allowed: must be one of auto, process, systemd"),
    ({"s2cs_state_dir": 5}, "s2cs_state_dir must be an absolute path"),
    ({"s2cs_service": "perhaps"}, "s2cs_service: "),
    ({"s2cs_user": "root"}, "s2cs_user: "),
    ({"s2cs_user": "%i"}, "s2cs_user: "),
    ({"s2cs_user": 1000}, "s2cs_user: 1000 is not allowed: must be the name of a user other than root"),
    ({"s2cs_user": "scistream"}, "that differs from s2cs_group, s2cs_users_group and s2cs_status_user"),
    ({"s2cs_user": "a\nUser=root"}, "s2cs_user: "),
    ({"s2cs_group": "sci stream"}, "s2cs_group: "),
    ({"s2cs_group": "scistream-users"}, "s2cs_users_group: "),
    ({"s2cs_users_group": ["users"]}, "s2cs_users_group: "),
    ({"s2cs_users_group": "scistream-web"}, "that differs from s2cs_group, s2cs_user and s2cs_status_user"),
    ({"s2cs_status_user": "root"}, "s2cs_status_user: "),
    ({"s2cs_status_user": "web\n"}, "s2cs_status_user: "),
    ({"s2cs_status_names": "gw.example.org"}, "must be a list of host names without ports"),
    ({"s2cs_status_names": ["gw.example.org:9464"]}, "s2cs_status_names: "),
    ({"s2cs_status_names": ["--listen"]}, "s2cs_status_names: "),
    ({"s2cs_command": "bin/s2cs"}, "must be an absolute path such as /usr/local/bin/s2cs, or an empty string"),
    ({"s2cs_command": "/usr/../s2cs"}, "s2cs_command: "),
    ({"s2cs_command": "/s2cs"}, "s2cs_command: "),
    ({"s2cs_metrics_file": "/a.prom"}, "s2cs_metrics_file: "),
    ({"s2cs_metrics_file": "/a/b.prom\n"}, "s2cs_metrics_file: "),
    ({"s2cs_run_bytes": "64M"}, "is not allowed: must be a number of bytes"),
    ({"s2cs_tuning": "maybe", "s2cs_tuning_modules": "tcp_bbr"}, "true or false; s2cs_tuning_modules: "),
    ({"s2cs_tuning_speed": 25}, "25 is not allowed: must be a speed in Gbit/s, 10, 40 or 100"),
    ({"s2cs_service": "perhaps", "s2cs_user": "a b", "s2cs_command": "s2cs"}, "must be an absolute path such as"),
    ({"s2cs_users_group": "staff\nUser=root"}, "s2cs_users_group: "),
    ({"s2cs_egress": {"consumer": "10.1.0.0/16"}}, "s2cs_egress.consumer: "),
    ({"s2cs_targets": {"producer": ["10.1.0.0/16:http"]}}, "s2cs_targets.producer[0]: "),
    ({"s2cs_clients": {"consumer": ["10.1.0.0/16:80"]}}, "s2cs_clients.consumer[0]: "),
    ({"s2cs_port_range": [80, 100]}, "s2cs_port_range must be two ports"),
    ({"s2cs_port_range": [5200, 5100]}, "s2cs_port_range[1]: 5100 is not allowed"),
    ({"s2cs_proxies": {"nothing": {}}}, "nothing"),
    ({"s2cs_proxies": {}}, "s2cs_proxies: {} is not allowed"),
    ({"s2cs_default_proxy": "haproxy"}, "s2cs_default_proxy: "),
    ({"s2cs_default_runtime": "docker"}, "s2cs_default_runtime: "),
    ({"s2cs_limits": {"sessions": 0}}, "s2cs_limits.sessions: 0 is not allowed"),
    ({"s2cs_hello_timeout": 7200}, "s2cs_hello_timeout: 7200 is not allowed"),
    ({"s2cs_supervisor": "systemd"}, "s2cs_supervisor: systemd"),
    ({"s2cs_target": {"producer": ["10.1.0.0/16"]}}, "there is no variable s2cs_target: did you mean s2cs_targets?"),
    ({"s2c_targets": {}, "S2CS_CLIENTS": {}}, "there is no variable s2c_targets: did you mean s2cs_targets?"),
    ({"s2cs_gateway": "gw zürich", "s2cs_administrators": ["a b"]}, "; s2cs_administrators[0]: "),
    ({"s2cs_proxies": {"nginx": {"settings": {"max_conections": 5}}}}, "did you mean max_connections?"),
    ({"s2cs_proxies": {"haproxy": {"settings": {"threads": "many"}}}}, "s2cs_proxies.haproxy.settings.threads: "),
    ({"s2cs_proxies": {"s2ds": {"settings": {"workers": 65}}}}, "s2cs_proxies.s2ds.settings.workers: 65"),
    ({"s2cs_proxies": {"s2ds": {"runtimes": ["janus"]}}}, "s2cs_janus must specify the URL of the controller"),
]


@dataclass
class Outcome:
    """What a run of the playbook did."""

    status: int
    output: str

    @property
    def changed(self) -> int:
        return sum(map(int, re.findall(r"changed=([0-9]+)", self.output)))


class Gateway:
    """A gateway that the playbook provisions under a directory."""

    def __init__(self, directory: Path, python: str | None = None) -> None:
        self.directory = directory
        self.python = python or of_gateways()
        self.root = directory / "root"
        (directory / "home").mkdir()
        (directory / "ansible.cfg").write_text("[defaults]\ninternal_poll_interval = 0.01\n")

    @property
    def config(self) -> Path:
        return self.root / "etc/scistream/s2cs.json"

    @property
    def policy(self) -> dict[str, Any]:
        policy: dict[str, Any] = json.loads(self.config.read_text())
        return policy

    def provision(self, *arguments: str, hosts: dict[str, dict[str, Any]] | None = None, **variables: Any) -> Outcome:
        """Run the playbook with the smallest set of variables, or others, for one host or several."""
        common = {
            "ansible_connection": "local",
            "ansible_python_interpreter": self.python,
            "s2cs_root": str(self.root),
            "s2cs_listen": LISTEN,
            **variables,
        }
        inventory = self.directory / "inventory.yml"
        inventory.write_text(json.dumps({"gateways": {"hosts": hosts or {"gw": {}}, "vars": common}}))
        return self.run("scistream.gateway.gateway", "-i", str(inventory), *arguments)

    def run(self, *arguments: str) -> Outcome:
        """Run ansible-playbook."""
        environment = {
            **os.environ,
            "HOME": str(self.directory / "home"),
            "ANSIBLE_CONFIG": str(self.directory / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
        }
        done = subprocess.run(
            [PLAYBOOK, *arguments],
            env=environment,
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=900,
            check=False,
        )
        print(done.stdout)
        return Outcome(done.returncode, done.stdout)

    def ok(self, *arguments: str, **variables: Any) -> Outcome:
        outcome = self.provision(*arguments, **variables)
        assert outcome.status == 0
        return outcome


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    """A directory in which nothing has been provisioned."""
    return Gateway(tmp_path)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_check_do_again_change(gateway: Gateway) -> None:
    outcome = gateway.ok("--check", "--diff")
    assert outcome.changed > 0
    assert not gateway.root.exists()
    assert '"gateway": "gw"' in outcome.output

    done = gateway.ok()
    assert done.changed == outcome.changed
    # It ends with what is allowed now, and what is not restricted can be seen.
    assert "producer: listens on " in done.output and "for ANY client; forwards to ANY address" in done.output
    assert gateway.policy["listen"] == LISTEN
    assert gateway.policy["proxies"] == {"s2ds": {"runtimes": ["process"], "settings": {}}}
    assert gateway.policy["supervisor"] == "process"
    assert gateway.policy["state_dir"] == str(gateway.root / "var/lib/scistream")
    program = gateway.root / "usr/local/lib/scistream/s2ds"
    assert mode(gateway.config) == 0o640
    assert mode(gateway.root / "var/lib/scistream") == 0o710
    assert mode(gateway.root / "var/lib/scistream/sessions") == 0o710
    assert {mode(path) for path in program.glob("*.py")} == {0o644}
    version = [gateway.python, "-I", str(program), "--version"]
    assert subprocess.run(version, check=True, capture_output=True, text=True).stdout.startswith("s2ds ")
    assert gateway.ok().changed == 0

    # What an earlier version had, a later one has not; what somebody changed is put right.
    (program / "gone.py").write_text("raise SystemExit(1)\n")
    (program / "__main__.py").write_text("raise SystemExit(1)\n")
    # As extra variables and INI inventories give them: texts for numbers and lists.
    texts = {"encryption": "tls", "hello_timeout": "60", "port_range": "5100,5120", "administrators": "ann,bob"}
    arguments = [part for name, text in texts.items() for part in ("-e", f"s2cs_{name}={text}")]
    changes: dict[str, Any] = {
        "s2cs_limits": {"num_conn": 4},
        "s2cs_proxies": {"s2ds": {"settings": {"workers": "2", "pipe_size": 262144}, "runtimes": "process"}},
        "s2cs_targets": {"producer": ["10.1.0.0/16"]},
        "s2cs_clients": {"producer": ["198.51.100.0/24"]},
    }
    outcome = gateway.ok("--check", "--diff", *arguments, **changes)
    assert outcome.changed == 2
    assert '+        "num_conn": 4' in outcome.output
    assert gateway.policy["limits"] == {} and (program / "gone.py").exists()
    outcome = gateway.ok(*arguments, **changes)
    assert outcome.changed == 2
    for words in (
        "for 198.51.100.0/24; forwards to 10.1.0.0/16",
        "encryption: tls only",
        "administrators: root, ann, bob",
    ):
        assert words in outcome.output
    policy = gateway.policy
    assert policy["limits"] == {"num_conn": 4}
    assert policy["encryption"] == ["tls"] and policy["hello_timeout"] == 60 and policy["port_range"] == [5100, 5120]
    settings = {"workers": 2, "pipe_size": 262144}
    assert policy["proxies"] == {"s2ds": {"runtimes": ["process"], "settings": settings}}
    assert policy["administrators"] == ["ann", "bob"]
    assert not (program / "gone.py").exists()
    assert subprocess.run(version, check=True, capture_output=True, text=True).stdout.startswith("s2ds ")

    # A bad policy does not replace the good one.
    before = gateway.config.read_bytes()
    assert gateway.provision(s2cs_proxies={"s2ds": {"settings": {"pipe_sise": 1}}}).status == 2
    assert gateway.config.read_bytes() == before


def test_bad_values_change_nothing(gateway: Gateway) -> None:
    hosts = {f"case-{index}": variables for index, (variables, _unused) in enumerate(BAD_VALUES)}
    outcome = gateway.provision("--forks", "4", hosts=hosts)
    assert outcome.changed == 0
    assert not gateway.root.exists()
    lines = re.findall(r"^(?:failed|fatal): \[(case-[0-9]+)\](.*)$", outcome.output, re.MULTILINE)
    said = {host: " ".join(line for name, line in lines if name == host) for host, _unused in lines}
    missed = [
        (variables, message, said.get(f"case-{index}"))
        for index, (variables, message) in enumerate(BAD_VALUES)
        if message not in said.get(f"case-{index}", "")
    ]
    assert missed == []
