# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Data servers that are apart from each other and from the gateway, where no systemd keeps them so.

The same probe looks at the units of systemd in the scenarios of Molecule.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.tests.integration.accounts import account
from ansible_collections.scistream.gateway.tests.integration.s2cs import machine
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import COLLECTION, S2CS, call, own_address
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import Application, eventually, exchange

PROBE = COLLECTION / "tests/testbed/probe.py"
PROXIES = ("s2ds", "haproxy", "nginx")
LIMIT = 4 << 20


@pytest.fixture
def gateway() -> Iterator[S2CS]:
    """An S2CS of root's, whose data servers have users."""
    # Who is not root cannot give a session a user; the run counts and shows what it left out.
    if os.geteuid():
        pytest.skip("only root can be several users")
    with ExitStack() as stack:
        for name in PROXIES:
            stack.enter_context(account(f"scistream-{name}"))
        root = Path(tempfile.mkdtemp(prefix="scistream-", dir="/tmp"))
        stack.callback(shutil.rmtree, root, ignore_errors=True)
        root.chmod(0o711)
        offered: dict[str, Any] = {name: {} for name in PROXIES}
        found = S2CS(root / "gateway", dedicated_users=True, proxies=offered, template_dir=str(root / "templates"))
        found.root.chmod(0o711)
        (root / "templates").mkdir()
        for name in ("haproxy/files/haproxy.cfg.j2", "nginx/files/nginx.conf.j2"):
            shutil.copy(COLLECTION / "roles" / name, root / "templates")
        (found.programs / "limits.json").write_text(json.dumps({"run_bytes": LIMIT, "run_files": 64}))
        # The programs look for their limits where they are.
        for program in (COLLECTION / "roles/s2cs/files").glob("*.py"):
            (found.programs / program.name).unlink()
            shutil.copy(program, found.programs)
        yield found
        problems = found.remove()
        left = [line for line in Path("/proc/mounts").read_text().splitlines() if str(root) in line]
        assert not problems and not left, (problems, left)


def directory(gateway: S2CS, session: dict[str, Any]) -> Path:
    """Return the directory of a session."""
    return gateway.sessions / f"{session['role']}-{session['uid']}"


@pytest.mark.parametrize("proxy", PROXIES)
def test_data_server_that_was_taken_over(gateway: S2CS, application: Application, proxy: str) -> None:
    own, other = (gateway.stream(application.endpoint, proxy=proxy) for _unused in range(2))
    first, second = directory(gateway, own), directory(gateway, other)
    (second / "gateway.crt.key").write_text("a key")
    shutil.chown(second / "gateway.crt.key", second.joinpath("run").stat().st_uid)
    (second / "gateway.crt.key").chmod(0o600)
    pid = gateway.supervisor(own)["child"]
    command = ["/usr/bin/python3", str(PROBE), str(first), str(pid), str(second)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert not done.returncode, done.stderr
    found = json.loads(done.stdout)
    assert found["user"] == first.joinpath("run").stat().st_uid != second.joinpath("run").stat().st_uid
    assert found["no_new_privileges"] and not any(found["capabilities"]) and found["core"] == "0"
    assert found["reads"] == [] and found["signals"] == []
    assert found["writes"] == []
    assert found["fills"] <= LIMIT
    assert exchange(own["listeners"][0]) == exchange(other["listeners"][0]) == b"one:hello"
    # A key is not even for those who are in the proxy's own group.
    group = pwd.getpwnam(f"scistream-{proxy}").pw_gid
    assert all(path.lstat().st_gid != group for path in second.rglob("*"))


def test_files_of_run_outlive_the_data_server(gateway: S2CS, application: Application) -> None:
    session = gateway.stream(application.endpoint)
    place = directory(gateway, session)
    user = place.joinpath("run").stat().st_uid
    assert os.path.ismount(place / "run")
    kept = place / "run" / "connections.log"
    with kept.open("wb") as stream:
        stream.truncate(1 << 30)
        stream.seek(1 << 30)
        stream.write(b"200 1 2\n")
    shutil.chown(kept, user)
    (place / "run" / "large").write_bytes(bytes(LIMIT // 2))
    (place / "run" / "link").symlink_to("/etc/passwd")
    os.link(kept, place / "run" / "again")
    os.unlink(place / "run" / "again")
    supervisor = gateway.supervisor(session)
    os.kill(supervisor["pid"], signal.SIGTERM)
    eventually("ended", lambda: not os.path.ismount(place / "run") and not (place / "supervisor.json").exists())
    assert kept.stat().st_size == (1 << 30) + 8 and kept.stat().st_blocks < 100 and kept.stat().st_uid == user
    assert not (place / "run" / "link").exists()
    gateway.done("update", uid=session["uid"], role="producer")
    assert os.path.ismount(place / "run") and kept.stat().st_size >= (1 << 30) + 8
    assert kept.read_bytes()[1 << 30 :].startswith(b"200 1 2\n") and kept.stat().st_uid == user
    assert exchange(session["listeners"][0]) == b"one:hello"


@pytest.mark.parametrize("victims", [["pid"], ["pid", "child"]])
def test_supervisor_that_was_killed_leaves_no_mount(
    gateway: S2CS, application: Application, victims: list[str]
) -> None:
    session = gateway.stream(application.endpoint)
    state = gateway.supervisor(session)
    for victim in victims:
        machine.kill(state[victim])
    eventually("ended", lambda: not gateway.info(session["uid"])["running"])
    gateway.done("release", uid=session["uid"])
    assert not directory(gateway, session).exists()


def test_sessions_from_before_they_had_users(gateway: S2CS, application: Application) -> None:
    """Their files belong to the group of the proxy; they go on as they are."""
    session = gateway.stream(application.endpoint)
    place, entry = directory(gateway, session), pwd.getpwnam("scistream-s2ds")
    os.kill(gateway.supervisor(session)["pid"], signal.SIGTERM)
    eventually("ended", lambda: not os.path.ismount(place / "run"))
    for path in (place, *place.iterdir()):
        os.chown(path, 0, entry.pw_gid)
    os.chmod(place / "run", 0o770)
    gateway.done("update", uid=session["uid"], role="producer")
    assert os.stat(f"/proc/{gateway.supervisor(session)['child']}").st_uid == entry.pw_uid
    assert exchange(session["listeners"][0]) == b"one:hello"


def test_check_mode_gives_nobody_a_user(gateway: S2CS) -> None:
    options = {"name": "camera", "listeners": [f"{own_address()}:0"], "encryption": "none", "supervisor": "process"}
    places = {"state_dir": str(gateway.state), "program_dir": str(gateway.programs)}
    result = call("s2ds", {**options, **places}, check=True)
    assert result["changed"] and not gateway.sessions.exists()
