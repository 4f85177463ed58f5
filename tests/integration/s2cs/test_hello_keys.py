# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SSH keys that can only announce applications: a real SSH server, the files of the role, and a service."""

from __future__ import annotations

import json
import os
import pwd
import random
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.tests.integration.accounts import account
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS, SECRET, own_uid
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import eventually
from ansible_collections.scistream.gateway.tests.integration.s2cs.test_ansible import LOCAL

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can create accounts")

SERVER = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {root}/host
AuthorizedKeysFile .ssh/authorized_keys
PidFile none
UsePAM no
PasswordAuthentication no
Subsystem sftp internal-sftp
"""


def server() -> str:
    program = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
    assert program, "there is no sshd: install openssh-server"
    return program


class Gateway:
    """The account for HELLO of a gateway, its SSH server, and clients.

    Attributes:
        user: Name of the account.
    """

    def __init__(self, root: Path, group: str, programs: Path) -> None:
        self.root = root
        self.group = group
        self.user = f"scistream-test-{random.randrange(10**6):06}"
        self.programs = programs
        for name in ("host", "job", "other"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(root / name)], check=True)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.configuration = root / "sshd_config"
        self.configuration.write_text(SERVER.format(port=self.port, root=root))
        (root / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {self.key('host')}\n")

    def key(self, name: str) -> str:
        return " ".join((self.root / f"{name}.pub").read_text().split()[:2])

    def provision(self, *tasks: str, keys: Sequence[str] = (), fails: bool = False) -> str:
        """Run files with tasks of the role; returns their outcome, as Ansible counts it, or what a failure said."""
        play = {
            "hosts": "all",
            "gather_facts": False,
            "tasks": [
                {"ansible.builtin.include_role": {"name": "scistream.gateway.s2cs", "tasks_from": file}}
                for file in tasks
            ],
            "vars": {
                **LOCAL,
                "s2cs_program_dir": str(self.programs),
                "s2cs_users_group": self.group,
                "s2cs_hello_user": self.user,
                "s2cs_hello_keys": [{"account": f"{name}@site", "key": f"{self.key(name)} of {name}"} for name in keys],
            },
        }
        book = self.root / "playbook.json"
        book.write_text(json.dumps([play]))
        done = subprocess.run(
            [
                "ansible-playbook",
                "-i",
                "host,",
                book,
                "-e",
                json.dumps({"_s2cs_sshd": [server(), "-f", str(self.configuration)]}),
            ],
            env={**os.environ, "ANSIBLE_HOME": str(self.root / "home"), "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode == 2) is fails and done.returncode in (0, 2), done.stdout + done.stderr
        return " ".join(done.stdout.split()) if fails else done.stdout.rpartition("host ")[2]

    def ssh(
        self, *words: str, secret: str = SECRET, key: str = "job", options: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        command = [
            *("ssh", "-F", "none", "-p", str(self.port), "-i", str(self.root / key), "-o", "IdentitiesOnly=yes"),
            *("-o", f"UserKnownHostsFile={self.root}/known_hosts", "-o", "BatchMode=yes", *options),
            f"{self.user}@127.0.0.1",
        ]
        return subprocess.run([*command, *words], input=secret, capture_output=True, text=True, timeout=60, check=False)

    def exists(self) -> bool:
        try:
            pwd.getpwnam(self.user)
        except KeyError:
            return Path(f"/var/lib/{self.user}").exists()
        return True


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    Path("/run/sshd").mkdir(exist_ok=True)
    group = account("scistream-announcers")
    # Not below the directory of the tests, which other users cannot enter.
    with group as name, tempfile.TemporaryDirectory(prefix="s2cs-") as programs:
        found = Gateway(tmp_path, name, Path(programs))
        found.programs.chmod(0o755)
        command = [server(), "-D", "-e", "-f", str(found.configuration)]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            eventually("the SSH server answers", lambda: found.ssh(key="job").returncode == 255)
            yield found
        finally:
            process.terminate()
            process.wait(10)
            if found.exists():
                found.provision("no_hello_keys")


def serve(gateway: Gateway, s2cs: S2CS) -> Any:
    """Start the service, and put its program where the role installs it."""
    service = s2cs.serve("--announcer", gateway.user)
    program = gateway.programs / "s2cs"
    program.write_text(f'#!/bin/sh\nexec {service.program} "$@" --socket {service.socket}\n')
    program.chmod(0o755)
    return service


def test_a_key_announces_applications_and_does_nothing_else(gateway: Gateway, s2cs: S2CS, tmp_path: Path) -> None:
    # Group, account, directories, keys; the second time nothing.
    assert "changed=4 " in gateway.provision("hello_server", "hello_keys", "hello_keys", keys=["job"])
    service = serve(gateway, s2cs)
    uid = own_uid()
    s2cs.request(uid)

    assert gateway.ssh("hello", uid, "127.0.0.1:7000", key="other").returncode == 255
    wrong = gateway.ssh("hello", uid, "127.0.0.1:7000", secret=SECRET[::-1])
    assert wrong.returncode == 1 and "this is not the secret of session" in wrong.stderr
    for words in (["id"], [], ["hello", uid, "127.0.0.1:7000;id"], ["hello", uid, "--config", "/etc/passwd"]):
        refused = gateway.ssh(*words, options=["-T"])
        assert refused.returncode == 1 and refused.stderr.startswith("s2cs: ") and not refused.stdout, (words, refused)
        assert "uid=" not in refused.stderr and "Traceback" not in refused.stderr
    # Neither a terminal, nor files, nor forwarding.
    assert "PTY allocation request failed" in gateway.ssh("hello", uid, options=["-tt"]).stderr
    assert gateway.ssh("sftp", options=["-s"]).returncode == 1
    forwarded = gateway.ssh(options=["-W", f"127.0.0.1:{gateway.port}"])
    assert forwarded.returncode != 0 and "SSH-" not in forwarded.stdout
    assert s2cs.info(uid)["state"] == "reserved"

    done = gateway.ssh("hello", uid, "127.0.0.1:7000")
    assert done.returncode == 0, done
    assert done.stdout.startswith(f"{uid} (producer) is announced; it expires at ")
    assert s2cs.info(uid)["producer_listeners"] == ["127.0.0.1:7000"]
    # Whatever the account might run otherwise, the service only lets it announce applications.
    denied = service.result("info", {}, user=gateway.user)
    assert denied["msg"] == f"action: {gateway.user} may only use hello on this gateway"

    gateway.provision("no_hello_keys")
    assert not gateway.exists()
    assert gateway.ssh("hello", uid, "127.0.0.1:7000").returncode == 255


def test_a_server_that_would_refuse_the_keys_is_reported(gateway: Gateway) -> None:
    text = gateway.configuration.read_text()
    refused = (
        "PubkeyAuthentication no\nAuthorizedKeysFile /etc/ssh/authorized_keys /etc/ssh/%u\n"
        "AllowUsers ann scistream-te?t\nAllowGroups staff *-hello\n"
    )
    gateway.configuration.write_text(refused + text)
    said = gateway.provision("hello_server", keys=["job"], fails=True)
    assert (
        f"s2cs_hello_keys: the SSH server would refuse {gateway.user}: PubkeyAuthentication must be yes; "
        f"AuthorizedKeysFile must contain .ssh/authorized_keys, at least with 'Match User {gateway.user}'; "
        f"AllowUsers must contain {gateway.user}; AllowGroups must contain {gateway.user} or {gateway.group}"
    ) in said
    accepted = f"AllowUsers ann scistream-*@127.0.0.1\nAllowGroups {gateway.group}\n"
    gateway.configuration.write_text(
        f"{accepted}{text}Match User {gateway.user}\nAuthorizedKeysFile %h/.ssh/authorized_keys\n"
    )
    assert "changed=0 " in gateway.provision("hello_server", keys=["job"])
