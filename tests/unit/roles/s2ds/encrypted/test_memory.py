# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an idle session keeps in memory: most of it are modules, and the libraries that they load."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).resolve().parents[5] / "roles/s2ds/files/s2ds"
PYTHON = os.environ.get("S2DS_PYTHON", sys.executable)
SUPERVISOR = PROGRAM.parents[2] / "s2cs" / "files"
OWN = {path.stem for directory in (PROGRAM, SUPERVISOR) for path in directory.glob("*.py")}
# Without those that begin with an underscore, which belong to one of these.
BOTH = {
    *("array", "collections", "contextlib", "copyreg", "enum", "errno", "fcntl", "functools", "gc", "genericpath"),
    *("heapq", "itertools", "json", "keyword", "math", "operator", "os", "posixpath", "re", "reprlib", "resource"),
    *("select", "selectors", "signal", "socket", "sre_compile", "sre_constants", "sre_parse", "stat", "struct"),
    "types",
}
FORWARDER = {"mmap", "termios", *BOTH}
MODULES_OF_SUPERVISOR = {"ctypes", "importlib", "warnings", *FORWARDER}
_NAMES = "json.dumps(sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
_FORWARDER = f"""
import sys
before = set(sys.modules)
sys.path.insert(0, sys.argv[1])
import program, json
# It is ctypes before Python 3.10.
program.splice.find = lambda: None
program.load_dispatcher().run = lambda self: print({_NAMES})
program.main(["--directory", sys.argv[2]])
"""
_SUPERVISOR = f"""
import sys
before = set(sys.modules)
sys.path.insert(0, sys.argv[1])
import supervise, forwarder, json
forwarder.DIRECTORY = sys.argv[2]
assert forwarder.load([sys.executable, "-I", "-S", sys.argv[2]]) is not None
print({_NAMES})
"""


def loaded(script: str, *arguments: object) -> set[str]:
    """Return the modules that a program has loaded of those that are not its own."""
    command = [PYTHON, "-I", "-S", "-B", "-c", script, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return {name for name in json.loads(done.stdout) if not name.startswith("_")} - OWN


def has_openssl(pid: int) -> bool:
    return "libssl" in Path(f"/proc/{pid}/maps").read_text()


@pytest.mark.parametrize("encrypted", [False, True])
def test_the_forwarder_loads_these_modules(sealed: Any, tmp_path: Path, encrypted: bool) -> None:
    config = sealed.bed.config(targets=[None], tls=sealed.tls("accept") if encrypted else None)
    (tmp_path / "s2ds.json").write_text(json.dumps(config))
    assert loaded(_FORWARDER, PROGRAM, tmp_path) - FORWARDER == set()


def test_the_supervisor_loads_these_modules() -> None:
    assert loaded(_SUPERVISOR, SUPERVISOR, PROGRAM) - MODULES_OF_SUPERVISOR == set()


def test_only_workers_of_encrypted_sessions_have_openssl(sealed: Any, bed: Any) -> None:
    plain, _client, _server = bed.pair()
    assert not any(map(has_openssl, [plain.process.pid, *plain.workers()]))
    (gateway,), _client, _server = sealed.pair("accept")
    assert gateway.reload(json.loads((gateway.directory / "s2ds.json").read_text()))["ok"]
    assert not has_openssl(gateway.process.pid)
    assert all(map(has_openssl, gateway.workers()))


def _separate(body: str) -> subprocess.CompletedProcess[str]:
    script = f"import sys; sys.path.insert(0, sys.argv[1]); import os, separate; separate.SECONDS = 0.2; {body}"
    return subprocess.run([PYTHON, "-I", "-S", "-c", script, str(PROGRAM)], capture_output=True, text=True, check=False)


def test_results_of_separate_processes() -> None:
    assert _separate("print(len(separate.run(lambda: bytes(300000))), os.getpid())").stdout.startswith("300000 ")


@pytest.mark.parametrize(
    ("function", "message", "logged"),
    [
        ("1 / 0", "a process ended with status 256", "ZeroDivisionError"),
        ("os.kill(os.getpid(), 9)", "a process ended with status 9", ""),
        ("os.read(os.pipe()[0], 1)", "a process took more than 0 seconds", ""),
    ],
)
def test_separate_processes_that_fail(function: str, message: str, logged: str) -> None:
    done = _separate(f"separate.run(lambda: {function})")
    assert done.returncode == 1
    assert f"{message}\n" in done.stderr and logged in done.stderr


@pytest.mark.parametrize("loaded_before", [False, True])
def test_credentials_are_checked_where_openssl_is(sealed: Any, tmp_path: Path, loaded_before: bool) -> None:
    """Where it has been loaded for many sessions, another process would only take time."""
    tls = sealed.tls("accept")
    script = f"""
import os, sys
sys.path.insert(0, sys.argv[1])
{"import ssl" if loaded_before else ""}
import program
forks = []
os.register_at_fork(before=lambda: forks.append(1))
program.load_dispatcher().run = lambda self: print(len(forks))
sys.exit(program.main(["--directory", sys.argv[2]]))
"""
    for key, status, output in ((tls["key"], 0, f"{int(not loaded_before)}\n"), (str(sealed.consumer.key), 2, "")):
        config = sealed.bed.config(targets=[None], tls={**tls, "key": key})
        (tmp_path / "s2ds.json").write_text(json.dumps(config))
        command = [PYTHON, "-I", "-S", "-c", script, str(PROGRAM), str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (status, output), done.stderr
        assert ("does not belong to the certificate" in done.stderr) == bool(status)
