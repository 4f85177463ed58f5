# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The dispatcher, the main process of a session. It owns the listeners and the control socket."""

from __future__ import annotations

import json
import os

from acceptor import Acceptor, common_job
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
    STRANGERS,
    TAKEN,
    TARGET_PATH,
    TO_CONSUMER,
    TO_PRODUCER,
    WAITING,
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
    from dial_report import DialStatus
    from kernel_choice import Choice
    from listener_settings import Listener
    from log import Log
    from splice import Splice

# Interval for saving changed totals.
SAVE_SECONDS = 1.0
# Pause before a new worker dials instead of one that died.
RESTART_SECONDS = 1.0


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
        self._dial_status: DialStatus | None = None
        lost = self._totals.set_inexact
        self._workers = WorkerPool(self._loop, splice, log, self._close_in_child, lost, self._take_report, self._died)
        if credentials is not None:
            self._workers.send_credentials(credentials.message())
        self._choice = _choice(config)
        self._acceptor = Acceptor(
            config, listeners, self._loop, self._workers, log, self._save_later, _directions(self._choice)
        )
        self._controller = Controller(controller, self._loop, self._answer)

    def run(self) -> None:
        where = ", ".join(self._acceptor.names + self._acceptor.peer_names)
        self._log.line(f"s2ds {VERSION} {f'listens on {where}' if where else 'has no listener'}")
        self._begin_dialling()
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
        # Not those of applications.
        others = self._acceptor.from_peer - counters.total(STRANGERS)
        return {
            # Connections that ended in the handshake had been passed to a worker.
            "total": self._workers.handed() + counters.total(TAKEN) - turned_away - left - others,
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
        if (config.dial and config.dial.role) != (before.dial and before.dial.role):
            raise ConfigError("s2ds.json: dial.role: may not change while the program runs")
        if len(config.listeners) != len(before.listeners):
            raise ConfigError("s2ds.json: listeners: may not change while the program runs")
        self._compare("listeners", config.listeners, before.listeners, self._acceptor.names)
        if config.waits is not None and before.waits is not None:
            self._compare("dial.listeners", config.waits.listeners, before.waits.listeners, self._acceptor.peer_names)
        check_congestion(config)
        credentials = read(config)
        renewed = self._workers.send_credentials(None if credentials is None else credentials.message())
        self._choice = _choice(config)
        self._acceptor.apply(config, _directions(self._choice))
        if config.rate != before.rate:
            self._workers.broadcast(json.dumps({"rate": config.rate}).encode())
        if renewed and config.dial is not None:
            # What was made with other credentials must not be used.
            self._workers.broadcast(b'{"drop": true}')
        self._begin_dialling()
        self._log.line("reloaded")

    def _compare(self, key: str, new: list[Listener], old: list[Listener], names: list[str]) -> None:
        """Refuse listeners that are not those that the program has."""
        for index, (to_be, was, bound) in enumerate(zip(new, old, names)):
            if (to_be.address, to_be.port) != (was.address, was.port) and text((to_be.address, to_be.port)) != bound:
                raise ConfigError(f"s2ds.json: {key}[{index}]: {bound} may not change while the program runs")

    def _begin_dialling(self) -> None:
        """Have the worker dial as configured, if this gateway does."""
        config = self._acceptor.config
        waits, dials = config.waits, config.dials
        if config.dial is None:
            return
        if self._dial_status is None:
            # Imported here, because most sessions do without it.
            from dial_report import DialStatus

            self._dial_status = DialStatus()
        if waits is not None:
            self._dial_status.expect(self._acceptor.peer_names if waits.open else [])
        if dials is None:
            return
        self._dial_status.expect([text(leg.peer) for leg in dials.legs])
        self._workers.keeps = bool(dials.legs)
        if not dials.legs and not self._workers.running():
            return
        job = {**common_job(config, (False, False)), "listener": "dialled", "max_connections": config.max_connections}
        settings = {
            "legs": [{"peer": leg.peer, "target": leg.target} for leg in dials.legs],
            "source": dials.source,
            "pool": dials.pool,
            "heartbeat": dials.heartbeat,
            "pause": dials.pause,
            "timeout": config.connect_timeout,
            # Although this end dials, this is the leg that is called `accept` at this gateway.
            "congestion": config.accept_congestion,
            "multipath": config.multipath == "accept",
            "max_connections": config.max_connections,
            "job": job,
        }
        self._workers.command(json.dumps({"dial": settings, "rate": config.rate}).encode())

    def _take_report(self, report: dict[str, Any]) -> None:
        if self._dial_status is not None:
            self._dial_status.take(report["dial"])
            self._save_later()

    def _died(self) -> None:
        """Begin again without the worker that had the connections."""
        if self._dial_status is not None:
            self._dial_status.reset("the worker died")
            self._loop.timers.after(RESTART_SECONDS, self._begin_dialling)

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
            **self._dialling(),
        }

    def _dialling(self) -> dict[str, Any]:
        """Return what is known of the connections between the gateways, if the producer's gateway dials."""
        dial, status = self._acceptor.config.dial, self._dial_status
        if dial is None or status is None:
            return {}
        found = {"dial": status.document(dial.role, self._workers.counters.total(WAITING))}
        return {**found, "peer_listeners": self._acceptor.peer_names} if dial.role == "waits" else found

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
