# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An S2CS without root, and what other users of the same host see of it."""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.tests.integration.proxies.certificates import of_gateway
from ansible_collections.scistream.gateway.tests.integration.s2cs import machine
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import (
    COLLECTION,
    S2CS,
    SECRET,
    own_address,
    own_uid,
)
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import Application, exchange
from ansible_collections.scistream.gateway.tests.integration.s2cs.test_ansible import Playbook, task


@pytest.fixture
def playbook(tmp_path: Path) -> Playbook:
    """A directory to run playbooks in."""
    return Playbook(tmp_path)


@contextmanager
def local_user(name: str) -> Iterator[str]:
    """Make an unprivileged user for a while; tests at once have it one after the other."""
    path = Path(tempfile.gettempdir(), f"scistream-gateway-runs-{name}-alone.lock")
    with open(path, "a", opener=lambda file, flags: os.open(file, flags | os.O_NOFOLLOW, 0o600)) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run(["useradd", "--system", "--no-create-home", "--shell", "/bin/sh", name], check=True)
        try:
            yield name
        finally:
            subprocess.run(["userdel", name], check=True)


@pytest.fixture
def user() -> Iterator[str]:
    """An unprivileged user: one of our own where this runs as root, or whoever runs this."""
    if os.geteuid():
        yield pwd.getpwuid(os.geteuid()).pw_name
        return
    with local_user("scistream-tests") as name:
        yield name


@pytest.fixture
def stranger() -> Iterator[str]:
    """Another unprivileged user, whom only root can make."""
    # A second user on this machine cannot be had otherwise; the run counts and shows what it left out.
    if os.geteuid():
        pytest.skip("only root can be several users")
    with local_user("scistream-stranger") as name:
        yield name


@pytest.fixture
def home(user: str) -> Iterator[Path]:
    """A directory of that user, in a place that it can reach."""
    # The default mode of temporary directories keeps everybody else out.
    root = Path(tempfile.mkdtemp(prefix="scistream-", dir="/tmp"))
    try:
        shutil.chown(root, user)
        yield root
    finally:
        left = machine.processes(f"--directory {root}")
        for pid in left:
            machine.kill(pid)
        shutil.rmtree(root)
    assert not left, left


def who(user: str, home: Path) -> dict[str, Any]:
    """Return what has a playbook run as a user."""
    become = {"become": True, "become_user": user, "become_method": "ansible.builtin.su"} if not os.geteuid() else {}
    variables = {
        "ansible_connection": "local",
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_remote_tmp": str(home / "tmp"),
    }
    return {**become, "pipelining": False, "vars": variables}


def test_s2cs_of_an_unprivileged_user(
    playbook: Playbook, user: str, home: Path, application: Application, make_policy: Callable[[Path], dict[str, Any]]
) -> None:
    policy = make_policy(home)
    which: dict[str, Any] = {"uid": own_uid(), "role": "producer"}
    config: dict[str, Any] = {"config": str(home / "s2cs.json")}
    first, hello, update, again, info = playbook.run(
        [
            task("s2cs_request", **config, **which, encryption="none", secret=SECRET),
            task("s2cs_hello", **config, **which, secret=SECRET, producer_listeners=[application.endpoint]),
            task("s2cs_update", **config, **which),
            task("s2cs_update", **config, **which),
            task("s2cs_info", **config),
        ],
        **who(user, home),
    )
    assert [item.get("msg") for item in (first, hello, update, again, info) if item.get("failed")] == []
    assert first["session"]["owner"] == user and info["gateway"]["supervisor"] == "process"
    assert update["changed"] and not again["changed"] and info["sessions"][0]["running"]
    assert exchange(update["session"]["listeners"][0]) == b"one:hello"
    uid = pwd.getpwnam(user).pw_uid
    found = machine.processes(f"--directory {home}/")
    assert found and {os.stat(f"/proc/{pid}").st_uid for pid in found} == {uid}
    assert {path.stat().st_uid for path in Path(policy["state_dir"]).rglob("*")} == {uid}
    [released] = playbook.run(
        [task("s2cs_release", **config, uid=which["uid"])],
        **who(user, home),
    )
    assert released["changed"] and not machine.processes(f"--directory {home}/")


@pytest.fixture
def make_policy(user: str) -> Callable[[Path], dict[str, Any]]:
    """Lay out what a user's own S2CS needs below a directory."""

    def make(root: Path) -> dict[str, Any]:
        programs = root / "programs"
        shutil.copytree(COLLECTION / "roles/s2ds/files/s2ds", programs / "s2ds")
        for program in (COLLECTION / "roles/s2cs/files").glob("*.py"):
            shutil.copy(program, programs)
        policy = {
            "state_dir": str(root / "state"),
            "program_dir": str(programs),
            "listen": {"producer": own_address()},
            "targets": {"producer": ["127.0.0.0/8"]},
        }
        (root / "s2cs.json").write_text(json.dumps(policy))
        for path in root.rglob("*"):
            shutil.chown(path, user)
        return policy

    return make


def test_other_users_get_at_nothing(
    playbook: Playbook, user: str, stranger: str, home: Path, make_policy: Callable[[Path], dict[str, Any]]
) -> None:
    state = Path(make_policy(home)["state_dir"])
    home.chmod(0o755)
    config: dict[str, Any] = {"config": str(home / "s2cs.json")}
    which: dict[str, Any] = {"uid": own_uid(), "role": "producer"}
    own, peer = of_gateway("producer", which["uid"]), of_gateway("consumer", which["uid"])
    hello: dict[str, Any] = {**which, "secret": SECRET, "producer_listeners": ["127.0.0.1:7000"]}
    results = playbook.run(
        [
            task("s2cs_request", **config, **which, secret=SECRET),
            task("s2cs_hello", **config, **{**hello, **own.hello}),
            task("s2cs_update", **config, **which, peer_certificate=peer.certificate),
        ],
        **who(user, home),
    )
    assert [item.get("msg") for item in results if item.get("failed")] == []
    assert not [line for line in own.key.splitlines()[1:-1] if line in playbook.output + json.dumps(results)]
    directory = state / "sessions" / f"producer-{which['uid']}"
    files = [path for path in (*state.iterdir(), *directory.iterdir()) if path.is_file()]
    assert {"s2cs.db", "lock", "gateway.crt.key", "peer.crt", "s2ds.json"} <= {path.name for path in files}
    account, other = pwd.getpwnam(user), pwd.getpwnam(stranger)
    assert reached(other.pw_uid, other.pw_gid, [state, state / "sessions", directory, *files]) == []
    # Not even who is in the same group, where a system puts all its users into one.
    secret = [path for path in files if path.name in ("s2cs.db", "lock", "gateway.crt.key")]
    assert reached(other.pw_uid, account.pw_gid, secret) == []
    assert reached(account.pw_uid, account.pw_gid, secret) == list(map(str, secret))
    tmp = home / "stranger"
    tmp.mkdir()
    shutil.chown(tmp, stranger)
    for result in playbook.run(
        [
            task("s2cs_release", **config, uid=which["uid"], secret=SECRET),
            task("s2cs_hello", **config, **hello),
            task("s2cs_update", **config, **which, secret=SECRET),
        ],
        **who(stranger, tmp),
    ):
        assert result["failed"] and f"cannot be trusted: {home} belongs to {user}" in result["msg"]
    [released] = playbook.run([task("s2cs_release", **config, uid=which["uid"])], **who(user, home))
    assert released["released"]


@pytest.mark.skipif(os.geteuid() != 0, reason="what others can write concerns root alone")
@pytest.mark.parametrize("program", ["supervise.py", "isolate.py", "records.py", "s2ds", "s2ds/worker.py"])
def test_root_runs_no_program_that_others_can_write(s2cs: S2CS, program: str) -> None:
    options = {"uid": own_uid(), "role": "producer", "encryption": "none", "secret": SECRET}
    path = s2cs.programs / program
    mode = path.stat().st_mode
    path.chmod(0o777)
    s2cs.refused("request", "program_dir", f"{path} is writable by everyone", **options)
    path.chmod(mode)
    s2cs.request(str(options["uid"]))


def reached(uid: int, gid: int, paths: list[Path]) -> list[str]:
    """Return which of these another user can read or write."""
    script = (
        "import os, sys\n"
        "os.setgroups([]); os.setresgid(*[int(sys.argv[2])] * 3); os.setresuid(*[int(sys.argv[1])] * 3)\n"
        "print(*[path for path in sys.argv[3:] if os.access(path, os.R_OK) or os.access(path, os.W_OK)], sep='\\n')\n"
    )
    command = [sys.executable, "-c", script, str(uid), str(gid), *map(str, paths)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
