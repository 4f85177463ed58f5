# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a helper runs beside a container: the proxy's own code, where the proxy's files and processes are."""

from __future__ import annotations

import json
import os
from typing import IO, Any

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.registry import PROXIES
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.runtime import Control, Place
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.site import Site

# The container's main process, in the namespace of processes that is shared with it.
_MAIN_PROCESS = 1


class _Control(Control):
    def __init__(self, requests: IO[bytes], answers: IO[str]) -> None:
        self._requests = requests
        self._answers = answers

    def signal(self, number: int) -> None:
        try:
            os.kill(_MAIN_PROCESS, number)
        except OSError as error:
            raise S2DSException(f"the main process of the container cannot be told anything: {error}") from None

    def log(self, lines: int = 10) -> list[str]:
        _write(self._answers, {"log": lines})
        found: list[str] = json.loads(self._requests.readline())["log"]
        return found


def serve(requests: IO[bytes], answers: IO[str]) -> None:
    """Answer requests, one on each line, until there are no more."""
    control = _Control(requests, answers)
    while True:
        line = requests.readline()
        if not line:
            return
        try:
            _write(answers, {"answer": _act(json.loads(line), control)})
        except S2DSException as error:
            _write(answers, {"error": str(error)})


def _act(request: dict[str, Any], control: Control) -> Any:
    directory = request["directory"]
    # What the proxy remembers of itself is the program's own here: nobody else can be misled by it.
    place = Place(directory, os.path.join(directory, "run"))
    proxy = PROXIES[request["proxy"]]()(Site("/"), {}, True)
    if request["operation"] == "probe":
        proxy.tidy(place)
        return proxy.probe(place)
    return proxy.reload(place, control)


def _write(answers: IO[str], message: dict[str, Any]) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()
