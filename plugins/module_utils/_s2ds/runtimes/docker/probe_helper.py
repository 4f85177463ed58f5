# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A helper container next to the container of a proxy, which observes the proxy.

It shares the proxy's PID namespace and the host's network. Its image contains Python, and the modules that it runs are
sent to it. The program that it observes runs as another user, so it can neither stop the helper nor change its answers.
Nevertheless, all answers are limited and checked. The helper ends, and is removed, when the connection to it ends for
any reason, and by itself after a while.
"""

from __future__ import annotations

import importlib.util
import json
import re
import signal
import time
from typing import Any, Mapping

from ansible_collections.scistream.gateway.plugins.module_utils._common.capabilities import PROXIES
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.module_source import source_of
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker.engine import Engine
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import Control

_PACKAGE = __name__.rsplit(".", 4)[0]
_MAIN = f"{_PACKAGE}._s2ds.runtimes.docker.probe_helper_main"
# Imports when a module is loaded. Later imports are not needed in a helper.
_IMPORT = re.compile(rf"^from ({re.escape(_PACKAGE)}[\w.]*) import (\([^)]*\)|.*)$", re.MULTILINE)
# A reload may take longer.
_ANSWER_SECONDS = {"probe": 15.0, "compact_log": 15.0, "reload": 40.0}
_MAX_LINE_LENGTH = 4 << 20
# During a reload, a proxy may read its log repeatedly.
_MAX_QUESTIONS = 2500
_MAX_LINES = 200
_SIGNALS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_STDOUT, _STDERR = 1, 2

# The initial program of the helper, which reads the modules that are sent to it, and runs them.
LOADER = """
import importlib.abc, importlib.util, json, signal, sys
signal.alarm(60)
stream = sys.stdin.buffer
sources = json.loads(stream.read(int(stream.readline())))
class Loader(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        package = any(source.startswith(name + ".") for source in sources)
        if package or name in sources:
            return importlib.util.spec_from_loader(name, self, is_package=package)
    def exec_module(self, module):
        exec(compile(sources.get(module.__name__, ""), module.__name__, "exec"), module.__dict__)
sys.meta_path.insert(0, Loader())
"""
_BOOT = f"{LOADER}importlib.import_module(sys.argv[1]).serve(stream, sys.stdout)\n"


class Helper:
    """A running helper.

    Args:
        engine: The engine.
        observed: ID and start time of the container to observe.
        options: Options for the container of the helper.
    """

    def __init__(self, engine: Engine, observed: tuple[str, str], options: Mapping[str, Any]) -> None:
        self.observed = observed
        self._engine = engine
        self._rest = b""
        self._deadline = time.monotonic() + max(_ANSWER_SECONDS.values())
        self._id = engine.create(
            None,
            **options,
            entrypoint=["python3", "-I", "-c", _BOOT, _MAIN],
            stdin_open=True,
            environment={"PYTHONDONTWRITEBYTECODE": "1"},
            working_dir="/",
            healthcheck={"test": ["NONE"]},
        )
        try:
            self._stream = engine.attach(self._id)
            self._socket = getattr(self._stream, "_sock", self._stream)
            engine.start(self._id)
            code = json.dumps(sources()).encode()
            self._send(b"%d\n" % len(code) + code)
        except BaseException:
            self.end()
            raise

    def ask(
        self, operation: str, proxy: str, directory: str, notes: Mapping[str, str], control: Control | None = None
    ) -> tuple[Any, dict[str, str]]:
        """Send a request to the helper, and return its answer.

        Args:
            operation: ``probe``, ``compact_log`` or ``reload``.
            proxy: Name of the proxy.
            directory: The data server's directory as its program sees it.
            notes: Notes of the proxy by the names of files.
            control: What the proxy may do with its program during a reload.

        Returns:
            The answer, and the new notes.

        Raises:
            S2DSException: The request failed, or the answer is invalid. The helper can no longer be used.
        """
        self._deadline = time.monotonic() + _ANSWER_SECONDS[operation]
        message: dict[str, Any] = {"operation": operation, "proxy": proxy, "directory": directory, "notes": dict(notes)}
        try:
            for _number in range(_MAX_QUESTIONS):
                self._send(json.dumps(message).encode() + b"\n")
                output = self._line()
                if isinstance(output.get("error"), str):
                    raise S2DSException(_printable(output["error"]))
                if "answer" in output:
                    return _answer(output["answer"]), _texts(output.get("notes"))
                if control is None:
                    break
                message = _control(control, output)
        except (OSError, EOFError, ValueError, RecursionError) as error:
            raise S2DSException(
                f"the helper that probes the proxy on the engine {self._engine.address} does not answer: "
                f"{_printable(str(error) or type(error).__name__)}"
            ) from None
        raise S2DSException(f"the helper on the engine {self._engine.address} requests something that is not allowed")

    def end(self) -> None:
        """Remove the helper."""
        self._engine.remove_container(self._id)

    def _send(self, data: bytes) -> None:
        self._socket.settimeout(self._left())
        self._socket.sendall(data)

    def _line(self) -> dict[str, Any]:
        """Read a line from the frames in which the engine sends the output of the helper."""
        while b"\n" not in self._rest:
            head = self._exactly(8)
            size = int.from_bytes(head[4:], "big")
            if len(self._rest) + size > _MAX_LINE_LENGTH:
                raise ValueError("its output is too long")
            data = self._exactly(size)
            if head[0] == _STDERR:
                raise ValueError(f"it reports {data.decode('utf-8', 'replace').strip()[-300:]}")
            self._rest += data if head[0] == _STDOUT else b""
        line, _newline, self._rest = self._rest.partition(b"\n")
        found = json.loads(line)
        if not isinstance(found, dict):
            raise ValueError("its answer is invalid")
        return found

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            self._socket.settimeout(self._left())
            part = self._socket.recv(size - len(data))
            if not part:
                raise EOFError("it has ended")
            data += part
        return data

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("it took too long")
        return left


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _control(control: Control, output: Mapping[str, Any]) -> dict[str, Any]:
    """Do what a proxy requests during a reload, if it is allowed."""
    number: Any = output.get("signal")
    lines: Any = output.get("log")
    if _is_number(number) and number in _SIGNALS:
        control.signal(number)
        return {"signal": None}
    if not _is_number(lines) or not 1 <= lines <= _MAX_LINES:
        raise ValueError("its request is not allowed")
    return {"log": [line[:1000] for line in control.log(lines)]}


def _answer(answer: Any) -> dict[str, Any] | None:
    if answer is None or isinstance(answer, dict):
        return answer
    raise ValueError("its answer is invalid")


def _texts(notes: Any) -> dict[str, str]:
    if not isinstance(notes, dict) or not all(isinstance(text, str) for text in notes.values()):
        raise ValueError("its answer is invalid")
    return notes


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)[-500:]


def sources() -> dict[str, str]:
    """Return the source code of the modules that a helper runs, and of all modules that these import, by name."""
    found: dict[str, str] = {}
    wanted = [_MAIN, *(f"{_PACKAGE}._s2ds.proxies.{proxy}" for proxy in PROXIES)]
    while wanted:
        name = wanted.pop()
        if name not in found:
            found[name] = source_of(name)
            wanted += _imported(found[name])
    return found


def _imported(source: str) -> list[str]:
    """Return the modules of this collection that a module imports when it is loaded."""
    found = []
    for name, members in _IMPORT.findall(source):
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            found += [f"{name}.{member.split()[0]}" for member in members.strip("()").split(",") if member.strip()]
        else:
            found.append(name)
    return found
