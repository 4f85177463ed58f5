# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The dispatcher, the main process of a session. It owns the listeners and the control socket."""

from __future__ import annotations

import json
import os

from acceptor import Acceptor
from config import load
from control import Controller
from counters import (
    CLIENT_PATH,
    ENCRYPTION,
    FAILED,
    LEFT,
    ONE_KEY,
    PATHS,
    REFUSED,
    TARGET_PATH,
    TO_CONSUMER,
    TO_PRODUCER,
)
from credential_files import read
from event_loop import EventLoop
from multipath import latest as latest_paths
from path_settings import latest as latest_path
from sockets import check_congestion, text
from totals import BYTES, CONNECTIONS, Totals
from validation import ConfigError
from version import VERSION
from worker_pool import WorkerPool

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any

    from config import Config
    from credentials import Credentials
    from kernel_choice import Choice
    from log import Log
    from splice import Splice

# Interval for saving changed totals.
SAVE_SECONDS = 1.0


class Dispatcher:
    def __init__(
        self,
        config: Config,
        credentials: Credentials | None,
        listeners: list[socket.socket],
        controller: socket.socket,
        wakeup: socket.socket,
        splice: Splice | None,
        log: Log,
    ) -> None:
        self._log = log
        self._totals = Totals(log)
        self._saving = False
        self._wakeup = wakeup
        self._loop = EventLoop()
        self._loop.watch(wakeup.fileno(), self._loop.stop)
        self._workers = WorkerPool(self._loop, splice, log, self._close_in_child, self._totals.set_inexact)
        if credentials is not None:
            self._workers.send_credentials(credentials.message())
        self._choice = _choice(config)
        self._acceptor = Acceptor(
            config, listeners, self._loop, self._workers, log, self._save_later, _directions(self._choice)
        )
        self._controller = Controller(controller, self._loop, self._answer)

    def run(self) -> None:
        self._log.line(f"s2ds {VERSION} listens on {', '.join(self._acceptor.names)}")
        self._totals.save(self._counted())
        self._loop.run()
        self._acceptor.close()
        self._workers.stop()
        self._totals.save(self._counted(), ended=True)
        self._controller.end()
        self._log.line("s2ds stopped")

    def _close_in_child(self) -> None:
        for part in (self._loop, self._acceptor, self._controller, self._wakeup):
            part.close()

    def _save_later(self) -> None:
        """Save the totals periodically, until nothing changes and no connection is open."""
        if not self._saving:
            self._saving = True
            self._loop.timers.after(SAVE_SECONDS, self._save)

    def _save(self) -> None:
        self._saving = False
        if self._totals.save(self._counted()) or self._workers.open():
            self._save_later()

    def _counted(self) -> dict[str, int]:
        """Return the counters of this process."""
        counters = self._workers.counters
        turned_away, left = counters.total(REFUSED), counters.total(LEFT)
        return {
            # Connections that ended in the handshake had been passed to a worker.
            "total": self._workers.handed() - turned_away - left,
            "refused": self._acceptor.refused + turned_away,
            "failed": counters.total(FAILED),
            "to_consumer": counters.total(TO_CONSUMER),
            "to_producer": counters.total(TO_PRODUCER),
        }

    def _answer(self, op: str) -> dict[str, Any]:
        if op == "reload":
            try:
                self._reload()
            except ConfigError as error:
                self._log.line(f"reload refused: {error}")
                return {"ok": False, "error": str(error)}
        elif op != "status":
            return {"ok": False, "error": f"unknown op {json.dumps(op)}: must be status or reload"}
        return {"ok": True, "status": self._status()}

    def _reload(self) -> None:
        config, before = load(), self._acceptor.config
        if len(config.listeners) != len(before.listeners):
            raise ConfigError("s2ds.json: listeners: may not change while the program runs")
        for index, (new, old) in enumerate(zip(config.listeners, before.listeners)):
            bound = self._acceptor.names[index]
            if (new.address, new.port) != (old.address, old.port) and text((new.address, new.port)) != bound:
                raise ConfigError(f"s2ds.json: listeners[{index}]: {bound} may not change while the program runs")
        check_congestion(config)
        credentials = read(config)
        self._workers.send_credentials(None if credentials is None else credentials.message())
        self._choice = _choice(config)
        self._acceptor.apply(config, _directions(self._choice))
        if config.rate != before.rate:
            self._workers.broadcast(json.dumps({"rate": config.rate}).encode())
        self._log.line("reloaded")

    def _status(self) -> dict[str, Any]:
        workers, acceptor, totals = self._workers, self._acceptor, self._totals
        counted = totals.all(self._counted())
        targets = [listener.target for listener in acceptor.config.listeners]
        return {
            "program": "s2ds",
            "version": VERSION,
            "pid": os.getpid(),
            "since": totals.since,
            "restarts": totals.restarts,
            "listeners": acceptor.names,
            "targets": [text(target) if target else None for target in targets],
            "connections": {"open": workers.admitted(), **{name: counted[name] for name in CONNECTIONS}},
            "handshakes": workers.handshakes(),
            "bytes": {name: counted[name] for name in BYTES},
            "last_byte": totals.last_byte,
            "exact": totals.exact,
            "tls": self._encryption(),
            "multipath": self._multipath(),
            "path": self._path(),
            "workers": [{"pid": slot.pid, "open": slot.open()} for slot in workers.running()],
        }

    def _encryption(self) -> dict[str, Any] | None:
        """Return how the latest connection is encrypted, and why."""
        if self._choice is None:
            return None
        from encryption import UNKNOWN, latest

        found = latest(self._workers.counters.each(ENCRYPTION))
        known = found.document() if found else dict.fromkeys(UNKNOWN)
        with_one_key = max((slot.block[ONE_KEY] for slot in self._workers.running()), default=0)
        return {**known, "reason": self._choice.reason, "with_one_key": with_one_key}

    def _multipath(self) -> dict[str, Any] | None:
        """Return how many paths the latest connection has."""
        if self._acceptor.config.multipath is None:
            return None
        return latest_paths(self._workers.counters.each(PATHS))

    def _path(self) -> dict[str, Any]:
        """Return the round trips of the latest connection, and what controls its congestion."""
        config, each = self._acceptor.config, self._workers.counters.each
        return {
            "client": latest_path(each(CLIENT_PATH), config.accept_congestion),
            "target": latest_path(each(TARGET_PATH), config.connect_congestion),
        }


def _choice(config: Config) -> Choice | None:
    """Return who encrypts, or None if the session is not encrypted."""
    if config.tls is None:
        return None
    # Imported here, because sessions without encryption save memory.
    from kernel_choice import choose

    return choose(config)


def _directions(choice: Choice | None) -> tuple[bool, bool]:
    return choice.directions if choice else (False, False)
