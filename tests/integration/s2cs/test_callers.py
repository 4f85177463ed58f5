# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who calls, whichever way somebody became root, and whatever his environment says."""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.caller import find_caller
from ansible_collections.scistream.gateway.tests.integration.s2cs.identity import BOB, descend_from
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import COLLECTION, S2CS, own_uid
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import Application
from ansible_collections.scistream.gateway.tests.integration.s2cs.test_users import local_user

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can come in as several users")

# It needs nothing but the standard library, and the interpreter of the tests may be out of an ordinary user's reach.
PYTHON = "/usr/bin/python3"
ASK = "import sys\nsys.path.insert(0, {directory!r})\nfrom caller import find_caller\n"
CALLER = COLLECTION / "plugins/module_utils/_s2cs/caller.py"
FORGED = {"SUDO_USER": "root", "SUDO_UID": "0", "DOAS_USER": "root", "LOGNAME": "root", "USER": "root"}
# Written by root for the time of the tests; nobody else's lines are touched.
SUDOERS, DOAS = Path("/etc/sudoers.d/scistream-tests"), Path("/etc/doas.conf")


@pytest.fixture(scope="module")
def alice() -> Iterator[str]:
    """A user who may become root by sudo and by doas without a password."""
    # Who has the user has these files as well.
    with local_user("scistream-alice") as name:
        before = DOAS.read_text() if DOAS.exists() else None
        try:
            SUDOERS.write_text(f"{name} ALL=(ALL:ALL) NOPASSWD: ALL\n")
            SUDOERS.chmod(0o440)
            DOAS.write_text((before or "") + f"permit nopass {name}\n")
            yield name
        finally:
            SUDOERS.unlink(missing_ok=True)
            if before is None:
                DOAS.unlink(missing_ok=True)
            else:
                DOAS.write_text(before)


def asked(directory: Path, script: str = "print(find_caller().name)") -> str:
    """Return a command that tells who calls, with an environment that says something else."""
    forged = [f"{name}={value}" for name, value in FORGED.items()]
    return shlex.join(["env", *forged, PYTHON, "-Bc", ASK.format(directory=str(directory)) + script])


@pytest.fixture
def script() -> Iterator[Path]:
    """A program that tells who calls, where every user can run it."""
    root = Path(tempfile.mkdtemp(prefix="scistream-", dir="/tmp"))
    root.chmod(0o755)
    (root / "caller.py").write_bytes(CALLER.read_bytes())
    (root / "who").write_text(f"#!/bin/sh\n{asked(root)}\n")
    (root / "who").chmod(0o755)
    yield root / "who"
    shutil.rmtree(root)


@pytest.mark.parametrize(
    "way",
    [
        "sudo -n {}",
        "sudo -n -i {}",
        "sudo -n sh -c 'sudo -n {}'",
        "sudo -n su -c {}",
        "sudo -n su - -c {}",
        "sudo -n -u nobody sh -c true; sudo -n setsid -w {}",
        "doas -n {}",
        "doas -n sudo -n {}",
        "exec sudo -n {}",
    ],
)
def test_ways_to_become_root(alice: str, script: Path, way: str) -> None:
    command = ["su", alice, "-s", "/bin/sh", "-c", f"cd /; {way.format(script)}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    # Where a shell is replaced nothing but the login uid tells, which a container may not have: then it is root's su.
    known = [alice, "root"] if way.startswith("exec") else [alice]
    assert done.stdout.strip() in known, done.stderr


def test_without_root(alice: str, script: Path) -> None:
    command = ["su", alice, "-s", "/bin/sh", "-c", str(script)]
    assert subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip() == alice


def test_root_of_a_user_namespace_is_root_there(alice: str, script: Path) -> None:
    for namespace in ("--map-root-user", "--map-root-user --pid --fork --mount-proc"):
        command = ["su", alice, "-s", "/bin/sh", "-c", f"unshare {namespace} {script}"]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        assert done.stdout.strip() == "root"


def in_child(*steps: str) -> str:
    """Return who calls after these steps of Python."""
    script = "\n".join(["import os, subprocess, sys", *steps, "print(find_caller().name)"])
    command = ["sh", "-c", asked(CALLER.parent, script)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


LOGIN = "open('/proc/self/loginuid', 'w').write('{}')"
DAEMON = "if os.fork(): os.wait(); sys.exit()"
GONE = "parent = os.getpid()\nif os.fork(): sys.exit()\nwhile os.getppid() == parent: pass"


def audited() -> bool:
    """Tell whether login uids can be set here."""
    child = os.fork()
    if not child:
        try:
            Path("/proc/self/loginuid").write_text("1")
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def test_login_uid_outlives_everything() -> None:
    """A task that runs asynchronously has no ancestor but the first process."""
    if not audited():
        pytest.skip("this kernel, or this container, has no login uids that can be set")
    uid = pwd.getpwnam(BOB).pw_uid
    assert in_child(LOGIN.format(uid)) == BOB
    assert in_child(LOGIN.format(uid), "os.setsid()", DAEMON) == BOB
    assert in_child(LOGIN.format(uid), "os.setsid()", GONE) == BOB
    assert in_child(LOGIN.format(0)) == "root"
    assert in_child(LOGIN.format(4000000)) == "4000000"


def test_ancestor_without_a_name() -> None:
    begin, end = os.pipe()
    if not os.fork():
        descend_from(4000001)
        os.write(end, find_caller().name.encode())
        os._exit(0)
    assert os.read(begin, 100) == b"4000001"
    os.close(begin)
    os.close(end)


def test_forged_environment_releases_nothing(s2cs: S2CS, application: Application, alice: str) -> None:
    """The input that once did it: the environment of a task names the owner."""
    with s2cs.used_by(alice):
        session = s2cs.stream(application.endpoint)
        assert session["owner"] == alice
    with s2cs.used_by(BOB), pytest.MonkeyPatch.context() as patch:
        for name in FORGED:
            patch.setenv(name, alice)
        s2cs.refused("release", "uid:", alice, BOB, uid=session["uid"])
        s2cs.request(own_uid())
    with s2cs.used_by(alice):
        assert s2cs.done("release", uid=session["uid"])["released"]
