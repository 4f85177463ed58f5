# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Exchange of the answers of gateways between the workers of one task.

Ansible runs a task for each host in a separate process. These exchange files in the directory that Ansible creates for
each run and removes at its end. Each worker holds a lock while it participates, so that the others notice when it has
exited. The files contain no secrets.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible import constants as C

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError

Answer = dict[str, Any]
#: Seconds to wait for a worker that Ansible has not started, because its host failed or the machine is busy.
PATIENCE = 20.0
_PAUSE, _LONGEST_PAUSE = 0.002, 0.02
_LOST = {"refused": True, "lost": True}


class Rendezvous:
    """The exchange of a task, from the perspective of one of its workers.

    Args:
        name: Name of the task, the same for all workers.
        gateway: The gateway of this worker.
        gateways: The gateways whose workers participate.
        look: Called while this worker waits. It may raise an exception to end the wait.
        patience: Seconds to wait for a worker that has not started.
    """

    def __init__(
        self,
        name: str,
        gateway: str,
        gateways: Sequence[str],
        look: Callable[[], None] = lambda: None,
        patience: float = PATIENCE,
    ) -> None:
        self._numbers = {each: number for number, each in enumerate(sorted(gateways))}
        self._directory = os.path.join(C.DEFAULT_LOCAL_TMP, f"scistream-{name}")
        self._gateway = gateway
        self._look = look
        self._patience = patience
        os.makedirs(self._directory, 0o700, exist_ok=True)
        self._lock = self._join()

    def __enter__(self) -> Rendezvous:
        return self

    def __exit__(self, *_what: object) -> None:
        os.close(self._lock)

    def publish(self, message: str, answer: Mapping[str, Any] | None) -> None:
        """Publish the answer of this gateway to a message, or None if it was not sent."""
        self._write(self._path(self._gateway, message), json.dumps(answer or {}))

    def collect(self, message: str) -> dict[str, Answer]:
        """Wait until each worker has published its answer to a message or exited, and return the answers by gateway."""
        found: dict[str, Answer] = {}
        begin, pause = time.monotonic(), _PAUSE
        while True:
            for gateway in self._numbers:
                if gateway not in found:
                    answer = self._answer(gateway, message, time.monotonic() - begin > self._patience)
                    if answer is not None:
                        found[gateway] = answer
            if len(found) == len(self._numbers):
                return found
            self._look()
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    def peek(self, message: str, gateways: Sequence[str] = ()) -> dict[str, Answer]:
        """Return the answers to a message that have been published, without waiting for the others.

        Args:
            message: The message.
            gateways: The gateways. If omitted, all.
        """
        found = {gateway: self._answer(gateway, message, False) for gateway in gateways or self._numbers}
        return {gateway: answer for gateway, answer in found.items() if answer is not None}

    def _answer(self, gateway: str, message: str, late: bool) -> Answer | None:
        """Return an answer, or an error in its place if there will be none. None if it may still be published."""
        # In this order, because a worker publishes its answer before it exits.
        ended = self._has_ended(gateway)
        try:
            with open(self._path(gateway, message), encoding="ascii") as file:
                answer: Answer = json.load(file)
            return answer
        except FileNotFoundError:
            pass
        if ended:
            return {**_LOST, "msg": "its worker process exited early"}
        if late and ended is None and self._exclude(gateway):
            return {**_LOST, "msg": "its worker process did not start in time"}
        return None

    def _join(self) -> int:
        """Join the exchange, and return the lock. Its file never exists without being locked.

        Raises:
            ScistreamError: The others have stopped waiting for this worker.
        """
        place = self._path(self._gateway, "here")
        descriptor = os.open(f"{place}.new", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            os.link(f"{place}.new", place)
        except FileExistsError:
            os.close(descriptor)
            raise ScistreamError("this worker process started too late") from None
        return descriptor

    def _exclude(self, gateway: str) -> bool:
        """Exclude a worker that has not started, so that it cannot start after the others stopped waiting for it."""
        place = self._path(gateway, "here")
        self._write(f"{place}.late", "")
        try:
            os.link(f"{place}.late", place)
        except FileExistsError:
            return False
        return True

    def _has_ended(self, gateway: str) -> bool | None:
        """Tell whether a worker has exited. None if it has not started."""
        if gateway == self._gateway:
            return False
        try:
            descriptor = os.open(self._path(gateway, "here"), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)
        return True

    def _path(self, gateway: str, what: str) -> str:
        return os.path.join(self._directory, f"{self._numbers[gateway]}.{what}")

    def _write(self, path: str, text: str) -> None:
        """Write a file atomically."""
        draft = f"{path}.{self._numbers[self._gateway]}"
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
            file.write(text)
        os.rename(draft, path)
