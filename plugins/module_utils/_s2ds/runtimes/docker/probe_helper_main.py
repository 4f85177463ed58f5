# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The program of a helper container: it runs the proxy's own code next to the proxy's files and processes."""

from __future__ import annotations

import json
import os
import signal
from typing import IO, Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.layout import Layout
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.loader import proxy_class
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import Control, Place

# Root of the container's main process, whose PID namespace the helper shares.
_ROOT = "/proc/1/root"
# A separate file system in memory, which the proxy cannot access.
NOTES = "/notes"
# Time limit for the next request, even if the requesting process is killed.
_SECONDS = 60
_MAX_NOTE_SIZE = 1 << 20


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
        requests: Stream of requests.
        answers: Stream for the answers.
        notes: Directory for the notes of the proxy during a request.
        root: Root directory of the proxy's files.
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
            found[name] = stream.read(_MAX_NOTE_SIZE)
    return found


def _write(answers: IO[str], message: dict[str, Any]) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()
