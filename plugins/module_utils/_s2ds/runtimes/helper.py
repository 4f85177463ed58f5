# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A helper beside a container: in its processes, its volume and the host's network it does what we cannot from here.

It is a container of an image with Python that runs what is in this directory, sent to it. It ends, and is removed,
when our connection to it ends, however that comes about.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Callable, Mapping

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes import helper_main
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.engine import Engine

# All data servers, not the runtimes alone.
_PACKAGE = __name__.rsplit(".", 2)[0]
_MAIN = helper_main.__name__
_SECONDS = 60.0
_STDOUT = 1

# What the helper starts with: it reads what we have loaded here, and runs.
_BOOT = """
import importlib.abc, importlib.util, json, sys
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
importlib.import_module(sys.argv[1]).serve(stream, sys.stdout)
"""


class Helper:
    """A helper that runs.

    Args:
        engine: The engine.
        beside: Id of the container that it is to see, and since when that runs.
        options: How the helper's container is made.
    """

    def __init__(self, engine: Engine, beside: tuple[str, str], options: Mapping[str, Any]) -> None:
        self.beside = beside
        self._engine = engine
        self._rest = b""
        with engine.doing("start a helper"):
            self._id: str = engine.api.create_container(
                **options,
                entrypoint=["python3", "-I", "-c", _BOOT, _MAIN],
                stdin_open=True,
                environment={"PYTHONDONTWRITEBYTECODE": "1"},
                working_dir="/",
                healthcheck={"test": ["NONE"]},
            )["Id"]
            try:
                parameters = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
                self._stream = engine.api.attach_socket(self._id, params=parameters)
                self._socket = getattr(self._stream, "_sock", self._stream)
                self._socket.settimeout(_SECONDS)
                engine.api.start(self._id)
                sources = json.dumps(_sources()).encode()
                self._socket.sendall(b"%d\n" % len(sources) + sources)
            except BaseException:
                self.end()
                raise

    def ask(
        self, operation: str, proxy: str, directory: str, log: Callable[[int], list[str]] = lambda lines: []
    ) -> Any:
        """Have the helper do something and return its answer.

        Args:
            operation: ``probe`` or ``reload``.
            proxy: Name of the proxy.
            directory: The directory of the instance as its program sees it.
            log: Returns the last lines of the proxy's log, which a proxy may want to see.
        """
        message: dict[str, Any] = {"operation": operation, "proxy": proxy, "directory": directory}
        while True:
            with self._engine.doing(f"ask a helper to {operation}"):
                self._socket.sendall(json.dumps(message).encode() + b"\n")
                answer = self._line()
            if "error" in answer:
                raise S2DSException(str(answer["error"]))
            if "answer" in answer:
                return answer["answer"]
            message = {"log": log(int(answer["log"]))}

    def end(self) -> None:
        """End the helper and wait until it is gone."""
        self._engine.remove_container(self._id)

    def _line(self) -> dict[str, Any]:
        """Read one line out of the frames in which the engine sends what the helper writes."""
        while b"\n" not in self._rest:
            head = self._exactly(8)
            data = self._exactly(int.from_bytes(head[4:], "big"))
            if head[0] != _STDOUT:
                raise OSError(f"it says {data.decode('utf-8', 'replace').strip()[-300:]}")
            self._rest += data
        line, _newline, self._rest = self._rest.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self._socket.recv(size - len(data))
            if not part:
                raise EOFError("it has ended")
            data += part
        return data


def _sources() -> dict[str, str]:
    """Return the source of the modules beside this one that are loaded, without those that drive an engine."""
    names = [name for name in sys.modules if name.startswith(f"{_PACKAGE}.") and sys.modules[name] is not None]
    wanted = {name for name in names if not name.rpartition(".")[2].startswith(("engine", "container_do", "helper"))}
    return {name: _source(name) for name in sorted({*wanted, _MAIN})}


def _source(name: str) -> str:
    loader = getattr(sys.modules[name], "__loader__", None)
    text = loader.get_source(name) if loader is not None else None
    if text is None:
        raise S2DSException(f"the source of {name} is needed for a helper and cannot be read")
    return str(text)
