# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a helper runs beside a container: the proxy's own code, where the proxy's files and processes are."""

from __future__ import annotations

import json
import os
import signal
from typing import IO, Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.layout import Layout
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.loader import proxy_class
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import Control, Place

# The file systems of the container's main process, in the namespace of processes that is shared with it.
_ROOT = "/proc/1/root"
# A file system of the helper's own in memory, out of the proxy's reach.
NOTES = "/notes"
# For the next request, whatever becomes of the one who is to make it.
_SECONDS = 60
_LARGEST_NOTE = 1 << 20


class _Control(Control):
    def __init__(self, requests: IO[bytes], answers: IO[str]) -> None:
        self._requests = requests
        self._answers = answers

    def signal(self, number: int) -> None:
        self._ask({"signal": number})

    def log(self, lines: int = 10) -> list[str]:
        found: list[str] = self._ask({"log": lines})["log"]
        return found

    def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        _write(self._answers, message)
        answer: dict[str, Any] = json.loads(self._requests.readline())
        return answer


def serve(requests: IO[bytes], answers: IO[str], notes: str = NOTES, root: str = _ROOT) -> None:
    """Answer requests, one on each line, until there are no more.

    Args:
        requests: Where they come from.
        answers: Where the answers go to.
        notes: Directory for what is remembered of the proxy while it is asked.
        root: Where the files of the proxy are.
    """
    control = _Control(requests, answers)
    while True:
        signal.alarm(_SECONDS)
        line = requests.readline()
        if not line:
            return
        try:
            request = json.loads(line)
            _put(notes, request["notes"])
            answer = _act(request, control, notes, root)
            _write(answers, {"answer": answer, "notes": _get(notes)})
        except S2DSException as error:
            _write(answers, {"error": str(error)})


def _act(request: dict[str, Any], control: Control, notes: str, root: str) -> Any:
    place = Place(root + request["directory"], notes)
    proxy = proxy_class(request["proxy"])(Layout("/"), {}, True)
    if request["operation"] == "probe":
        return proxy.probe(place)
    if request["operation"] == "compact_log":
        return proxy.compact_log(place)
    return proxy.reload(place, control)


def _put(directory: str, notes: dict[str, str]) -> None:
    for name in os.listdir(directory):
        os.unlink(os.path.join(directory, name))
    for name, text in notes.items():
        with open(os.path.join(directory, name), "w", encoding="utf-8") as stream:
            stream.write(text)


def _get(directory: str) -> dict[str, str]:
    found = {}
    for name in os.listdir(directory):
        with open(os.path.join(directory, name), encoding="utf-8") as stream:
            found[name] = stream.read(_LARGEST_NOTE)
    return found


def _write(answers: IO[str], message: dict[str, Any]) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()
