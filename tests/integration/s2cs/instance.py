# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""S2CS instances of the tests, each with roots and addresses of its own, and calls of the modules on them."""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib
import importlib.util
import itertools
import json
import os
import pkgutil
import pwd
import py_compile
import random
import re
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NoReturn

from ansible.module_utils import basic

from ansible_collections.scistream.gateway.tests.integration.s2cs import machine
from ansible_collections.scistream.gateway.tests.integration.s2cs.identity import come_in_as
from ansible_collections.scistream.gateway.tests.integration.s2cs.service import Service

COLLECTION = Path(__file__).resolve().parents[3]
MODULES = "ansible_collections.scistream.gateway.plugins.modules"
MODULE_UTILS = "ansible_collections.scistream.gateway.plugins.module_utils"
_EXPIRES = re.compile(r'"expires": [0-9.]+')

SECRET = "the-secret-of-the-tests-0123456789abcdef"

# Several runs of these tests may be on one machine.
_NETWORK = random.randint(64, 191)
_hosts = itertools.count(random.randint(0, 127) * 256)


def own_address() -> str:
    """Return a loopback address that nobody else uses."""
    number = next(host for host in _hosts if host % 256 not in (0, 255))
    return f"127.{_NETWORK}.{number // 256}.{number % 256}"


def own_uid() -> str:
    """Return the uid of a new stream."""
    return str(uuid.uuid4())


class Call:
    """A module in a process of its own, from the moment when its options are there.

    Args:
        module: Its name.
        options: Its options.
        user: The user on whose behalf it runs as root; with "" it runs as whoever runs the tests.
        drop: Whether it runs without root's rights, as that user.
    """

    def __init__(self, module: str, options: dict[str, Any], user: str = "", drop: bool = False) -> None:
        self._output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - result() and kill_after() close them
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        main = importlib.import_module(f"{MODULES}.{module}").main
        load_what_modules_import_late()
        if drop:
            load_what_actions_load()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if not self.pid:
            # What a task may set with "environment" has no say in who it is.
            os.environ["SUDO_USER"] = os.environ["DOAS_USER"] = "nobody" if user else "root"
            if drop:
                entry = pwd.getpwnam(user)
                os.setgroups([])
                os.setgid(entry.pw_gid)
                os.setuid(entry.pw_uid)
            elif os.geteuid() == 0:
                come_in_as(user)
            self._run(main, options)

    def _run(self, main: Any, options: dict[str, Any]) -> NoReturn:
        status = 70
        # What the module registers is to be done at its end, such as removing its temporary files; the rest is not its.
        atexit._clear()
        try:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(self._output.fileno(), 1)
            os.dup2(self._errors.fileno(), 2)
            sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
            basic._ANSIBLE_ARGS = json.dumps({"ANSIBLE_MODULE_ARGS": options}).encode()
            basic._ANSIBLE_PROFILE = "legacy"
            main()
        except SystemExit as end:
            status = int(end.code or 0)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            with contextlib.suppress(Exception):
                atexit._run_exitfuncs()
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def kill_after(self, seconds: float) -> bool:
        """Kill the module after some time; returns whether it had not ended by itself."""
        time.sleep(seconds)
        os.kill(self.pid, signal.SIGKILL)
        _pid, status = os.waitpid(self.pid, 0)
        self._output.close()
        self._errors.close()
        return os.WIFSIGNALED(status)

    def result(self) -> dict[str, Any]:
        """Return the one JSON document that a module prints, whatever happens."""
        _pid, status = os.waitpid(self.pid, 0)
        with self._output, self._errors:
            self._output.seek(0)
            self._errors.seek(0)
            output, errors = self._output.read().decode(), self._errors.read().decode()
        assert not errors, f"the module wrote to its standard error:\n{errors}"
        assert os.WIFEXITED(status) and os.WEXITSTATUS(status) in (0, 1), f"wait status {status}: {output}"
        found: dict[str, Any] = json.loads(output)
        assert bool(found.get("failed")) == bool(os.WEXITSTATUS(status)), found
        return found


def call(module: str, options: dict[str, Any], check: bool = False) -> dict[str, Any]:
    """Run a module and return its result."""
    return start(module, options, check).result()


def start(module: str, options: dict[str, Any], check: bool = False, user: str = "", drop: bool = False) -> Call:
    """Start a module."""
    return Call(module, {**options, "_ansible_check_mode": check, "_ansible_diff": True}, user, drop)


@functools.cache
def load_what_modules_import_late() -> None:
    """Import it once, and not in each process."""
    importlib.import_module("jinja2.sandbox")
    for layer in ("_s2cs", "_s2ds"):
        package = importlib.import_module(f"{MODULE_UTILS}.{layer}")
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(found.name)


def load_what_actions_load() -> None:
    """Import what modules import late: one who is not root may be unable to read the interpreter and the checkout."""
    for name in ("request", "hello", "update", "release", "info"):
        importlib.import_module(f"{MODULES}.s2cs_{name}")
    internal = importlib.util.find_spec("ansible.module_utils._internal")
    if internal is not None:
        for found in pkgutil.walk_packages(internal.submodule_search_locations, f"{internal.name}."):
            importlib.import_module(found.name)
    for name in ("ascii", "idna", "latin_1", "unicode_escape"):
        importlib.import_module(f"encodings.{name}")
    importlib.import_module("concurrent.futures.thread")


def install_programs(directory: Path) -> None:
    """Install what the roles install."""
    for program in (COLLECTION / "roles/s2cs/files").glob("*.py"):
        install(program, directory)
    install(COLLECTION / "roles/s2ds/files/s2ds", directory)


class S2CS:
    """One control server: a policy, a state directory, and listener addresses that only it uses.

    Attributes:
        user: The user on whose behalf the modules are called as root; with "" whoever runs the tests.
        service: Its service, which is called instead of the modules if there is one.
    """

    def __init__(self, root: Path, **policy: Any) -> None:
        self.root = root
        self.user = ""
        self.service: Service | None = None
        self.state = root / "state"
        self.sessions = self.state / "sessions"
        self.config = root / "s2cs.json"
        self.programs = root / "programs"
        self.programs.mkdir(parents=True)
        # Whoever names others may be one who cannot read the checkout.
        if "program_dir" not in policy:
            install_programs(self.programs)
        self.policy: dict[str, Any] = {
            "gateway": "gw-test",
            "state_dir": str(self.state),
            "program_dir": str(self.programs),
            "listen": {"producer": own_address(), "consumer": own_address()},
            "port_range": [5100, 5139],
            "targets": {"producer": ["127.0.0.0/8", "[::1]"], "consumer": ["127.0.0.0/8", "[::1]"]},
            "supervisor": "process",
            "dedicated_users": False,
        }
        self.write_policy(**policy)

    def write_policy(self, **changes: Any) -> None:
        """Change keys of the policy; None removes one."""
        self.policy.update(changes)
        self.policy = {key: value for key, value in self.policy.items() if value is not None}
        self.config.write_text(json.dumps(self.policy))

    def call(self, action: str, check: bool = False, **options: Any) -> dict[str, Any]:
        """Run the module of an action on this S2CS."""
        if self.service is not None:
            return self.service.result(action, options, check, self.user)
        return start(f"s2cs_{action}", {"config": str(self.config), **options}, check, self.user).result()

    def serve(self, *arguments: str) -> Service:
        """Start a service, which is stopped with this S2CS."""
        self.service = Service(self.config, arguments)
        return self.service

    def start(self, action: str, **options: Any) -> Call:
        """Start the module of an action on this S2CS."""
        return start(f"s2cs_{action}", {"config": str(self.config), **options}, user=self.user)

    @contextlib.contextmanager
    def used_by(self, user: str) -> Iterator[S2CS]:
        """Have another user call the modules for a while."""
        before, self.user = self.user, user
        try:
            yield self
        finally:
            self.user = before

    def done(self, action: str, **options: Any) -> dict[str, Any]:
        """Run the module of an action, which must not fail."""
        result = self.call(action, **options)
        assert not result.get("failed"), result["msg"]
        return result

    def refused(self, action: str, *words: str, **options: Any) -> str:
        """Run the module of an action that must fail, change nothing, and say so in these words, on one line."""
        before = self.picture()
        result = self.call(action, **options)
        assert result.get("failed"), result
        after = self.picture()
        assert after == before
        message = str(result["msg"])
        assert message.isprintable() and len(message) < 1000, message
        for word in words:
            assert word in message, message
        return message

    def request(self, uid: str, role: str = "producer", **options: Any) -> dict[str, Any]:
        """REQ that must succeed; returns the result."""
        return self.done("request", uid=uid, role=role, **{"encryption": "none", "secret": SECRET, **options})

    def hello(self, uid: str, *listeners: str, role: str = "producer", **options: Any) -> dict[str, Any]:
        """HELLO that must succeed; returns the result."""
        more = {"producer_listeners": list(listeners)} if role == "producer" else {}
        return self.done("hello", uid=uid, role=role, secret=SECRET, **more, **options)

    def stream(self, *targets: str, uid: str = "", role: str = "producer", **options: Any) -> dict[str, Any]:
        """REQ, HELLO, UPDATE; returns the session."""
        uid = uid or own_uid()
        self.request(uid, role, **options)
        self.hello(uid, *targets, role=role)
        session: dict[str, Any] = self.done("update", uid=uid, role=role, remote_listeners=list(targets))["session"]
        return session

    def info(self, uid: str = "", role: str = "producer") -> dict[str, Any]:
        """Return what s2cs_info tells of a session."""
        found: list[dict[str, Any]] = self.done("info", **({"uid": uid} if uid else {}))["sessions"]
        return next(item for item in found if item["role"] == role)

    def supervisor(self, session: dict[str, Any]) -> dict[str, Any]:
        """Return what the supervisor of a session's data server wrote down."""
        path = self.sessions / f"{session['role']}-{session['uid']}" / "supervisor.json"
        state: dict[str, Any] = json.loads(path.read_text())
        return state

    def rows(self, table: str = "session") -> list[Any]:
        """Return a table of the store."""
        if not (self.state / "s2cs.db").exists():
            return []
        with contextlib.closing(sqlite3.connect(f"file:{self.state}/s2cs.db?mode=ro", uri=True)) as database:
            database.text_factory = lambda data: data.decode("utf-8", "replace")
            known = database.execute("SELECT * FROM sqlite_master WHERE name = ?", [table]).fetchall()
            return sorted(database.execute(f"SELECT * FROM {table}")) if known else []

    def listening(self) -> dict[str, list[int]]:
        """Return the ports at which this S2CS's data servers listen, by address."""
        return {address: machine.listening(address) for address in sorted(set(self.policy["listen"].values()))}

    def processes(self, settled: bool = False) -> dict[int, str]:
        """Return the processes of this S2CS."""
        return machine.processes(f"{self.state}/", settled)

    def picture(self) -> tuple[Any, ...]:
        """Return all that an action can change; two pictures are equal if nothing did."""
        found = sorted(self.sessions.rglob("*")) if self.state.exists() else []
        files = {str(path): _content(path) for path in found if not path.name.startswith("counters.json")}
        return self._lasting(), self.rows("port"), self.listening(), sorted(self.processes(settled=True)), files

    def _lasting(self) -> list[Any]:
        """Return the sessions without the deadline for their next message, which begins anew with each call."""
        return [(*key, _EXPIRES.sub("", document)) for *key, document in self.rows()]

    def left(self) -> list[str]:
        """Return what is left although nothing should be."""
        found = [f"session {row[:2]}" for row in self.rows()]
        found += [f"port {row}" for row in self.rows("port")]
        found += [f"listener {address}:{port}" for address, ports in self.listening().items() for port in ports]
        found += [f"process {pid} {command}" for pid, command in self.processes().items()]
        return found + [f"directory {path}" for path in (self.sessions.iterdir() if self.sessions.exists() else ())]

    def remove(self) -> list[str]:
        """Release everything; returns what was left nevertheless, which is ended now."""
        uids = sorted({row[0] for row in self.rows()})
        problems = []
        self.user = ""
        if self.service is not None:
            written = self.service.stop()
            problems = [f"the service wrote: {written}"] if "Traceback" in written else []
            self.service = None
        if uids:
            self.write_policy(proxies=None)
            result = self.call("release", sessions=[{"uid": uid} for uid in uids])
            problems += [result["msg"]] if result.get("failed") else []
        problems += self.left()
        for pid in self.processes():
            machine.kill(pid)
        shutil.rmtree(self.root, ignore_errors=True)
        return problems


def install(source: Path, directory: Path) -> None:
    """Copy a program as the roles do: compiled, and for nobody else to write, whoever's the sources are."""
    sources = [path for path in (source, *source.rglob("*.py")) if path.is_file()]
    for path in sources:
        target = directory / path.relative_to(source.parent)
        compiled = target.parent / "__pycache__" / f"{target.stem}.{sys.implementation.cache_tag}.pyc"
        for parent in (target.parent, compiled.parent):
            parent.mkdir(mode=0o755, exist_ok=True)
        target.write_bytes(path.read_bytes())
        target.chmod(0o755)
        compiled.write_bytes(_compiled(path))
        compiled.chmod(0o644)


@functools.cache
def _compiled(source: Path) -> bytes:
    """Return the bytecode of a program, which is valid as long as the program has this content."""
    with tempfile.NamedTemporaryFile() as file:
        mode = py_compile.PycInvalidationMode.CHECKED_HASH
        py_compile.compile(str(source), file.name, doraise=True, invalidation_mode=mode)
        return Path(file.name).read_bytes()


def _content(path: Path) -> object:
    if path.is_file() and path.name != "log":
        return path.read_bytes()
    return path.stat().st_mode
