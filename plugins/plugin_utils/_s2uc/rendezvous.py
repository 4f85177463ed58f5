# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the workers of one task, each with a gateway of its own, tell each other what their gateways answered.

Ansible gives each host of a task a process with a connection of its own. These meet in the directory that Ansible makes
for a run alone and removes at its end. A worker holds a lock for as long as it takes part, by which the others see that
it has ended. No secret is in what they tell.
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
#: How long a worker waits for another one that Ansible has not started: it failed before, or the machine is busy.
PATIENCE = 20.0
_PAUSE, _LONGEST_PAUSE = 0.002, 0.02
_LOST = {"refused": True, "lost": True}


class Rendezvous:
    """The meeting of a task, for one of its workers.

    Args:
        name: Of the task, the same for all its workers.
        gateway: The one of this worker.
        gateways: Those whose workers take part.
        look: Called while this worker waits; may raise what ends the wait.
        patience: How long to wait for a worker that has not come yet, in seconds.
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
        """Tell the others what this gateway answered; None if it was not asked."""
        self._write(self._path(self._gateway, message), json.dumps(answer or {}))

    def collect(self, message: str) -> dict[str, Answer]:
        """Wait until all have told their answers to a message, or ended; return the answers by gateway."""
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

    def _answer(self, gateway: str, message: str, late: bool) -> Answer | None:
        """Return an answer, or what stands for it if none will come; None if it may still come."""
        # In this order: a worker tells its answer before it ends.
        ended = self._has_ended(gateway)
        try:
            with open(self._path(gateway, message), encoding="ascii") as file:
                answer: Answer = json.load(file)
            return answer
        except FileNotFoundError:
            pass
        if ended:
            return {**_LOST, "msg": "its part of the run ended early"}
        if late and ended is None and self._exclude(gateway):
            return {**_LOST, "msg": "its part of the run did not begin"}
        return None

    def _join(self) -> int:
        """Take part; return the lock, which exists only while it is held.

        Raises:
            ScistreamError: The others did not wait for this one any longer.
        """
        place = self._path(self._gateway, "here")
        descriptor = os.open(f"{place}.new", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            os.link(f"{place}.new", place)
        except FileExistsError:
            os.close(descriptor)
            raise ScistreamError("its part of the run began too late") from None
        return descriptor

    def _exclude(self, gateway: str) -> bool:
        """Take the place of a worker that has not come, so that it does not begin when the others have given up."""
        place = self._path(gateway, "here")
        self._write(f"{place}.late", "")
        try:
            os.link(f"{place}.late", place)
        except FileExistsError:
            return False
        return True

    def _has_ended(self, gateway: str) -> bool | None:
        """Tell whether a worker has ended; None if it has not come yet."""
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
        """Write a file that is whole as soon as it is there."""
        draft = f"{path}.{self._numbers[self._gateway]}"
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
            file.write(text)
        os.rename(draft, path)
