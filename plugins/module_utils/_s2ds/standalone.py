# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Data servers without a control server: ensure the state of one, and describe it."""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from typing import Any, Iterator, Mapping

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import Endpoint
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException, ScistreamError
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.data_server import S2DS
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.layout import make_directory
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import DataServerSpec, Status

STARTED, STOPPED, ABSENT = "started", "stopped", "absent"
STATES = (STARTED, STOPPED, ABSENT)

# The last specification, so that the data server keeps the ports that it chose.
RECORD = "instance.json"


class Standalone:
    """Ensures the state of one data server.

    Args:
        server: The data server with its new specification.
        check_mode: Only predict changes.
    """

    def __init__(self, server: S2DS, check_mode: bool) -> None:
        self.server = server
        self.name = server.spec.name
        self.check_mode = check_mode
        self._directory = server.runtime.home

    def describe(self) -> dict[str, Any]:
        """Return the current state of the data server, as the module returns it."""
        try:
            current = self._record()
        except S2DSException:
            return {"name": self.name, "state": STOPPED, "running": False}
        if current is None:
            return {"name": self.name, "state": ABSENT, "running": False}
        status = self.server.with_spec(current).status()
        return self._described(current, STARTED if status.running else STOPPED, status)

    def predict(self, state: str) -> dict[str, Any]:
        """Return the predicted state of the data server. Ports that would be chosen remain 0."""
        if state == ABSENT:
            return {"name": self.name, "state": ABSENT, "running": False}
        current = self._record()
        if state == STOPPED:
            return self._described(current or self.server.spec, STOPPED, Status(False))
        return self._described(_keep_ports(current, self.server.spec), STARTED, Status(True))

    def _described(self, spec: DataServerSpec, state: str, status: Status) -> dict[str, Any]:
        return {
            "name": self.name,
            "state": state,
            "listeners": [str(item) for item in spec.listeners],
            "targets": [str(item) for item in spec.targets],
            "clients": list(spec.clients),
            "egress": spec.egress,
            "rate": spec.rate,
            "encryption": spec.encryption,
            "certificate": spec.certificate,
            "peer_certificate": spec.peer_certificate,
            # Without another gateway, none of them dials.
            **{key: value for key, value in asdict(status).items() if key != "dial"},
        }

    def ensure(self, state: str) -> bool:
        """Ensure a state. Returns whether anything changed.

        Args:
            state: ``started``, ``stopped`` or ``absent``.

        Raises:
            S2DSException: That failed; the previous state was restored.
        """
        with self._locked():
            if state == ABSENT:
                return self._remove()
            current = self._record()
            if state == STOPPED:
                return self._stop(current)
            wanted = self.server.with_spec(_keep_ports(current, self.server.spec))
            if current is not None and self._can_be_updated(current, wanted.spec):
                return self._update(wanted, again=current != replace(wanted.spec, key=None))
            return self._start(current, wanted)

    def _can_be_updated(self, current: DataServerSpec, wanted: DataServerSpec) -> bool:
        return (
            list(current.listeners) == list(wanted.listeners)
            and (current.role, current.encryption, current.transport)
            == (wanted.role, wanted.encryption, wanted.transport)
            and self.server.has_current_settings()
        )

    def _remove(self) -> bool:
        if self.check_mode:
            return os.path.isdir(self._directory)
        return self.server.release()

    def _stop(self, current: DataServerSpec | None) -> bool:
        if current is None:
            raise S2DSException(f"state: there is no data server {self.name} to stop; start it first, or use absent")
        if self.check_mode:
            return self.server.with_spec(current).status().running
        return self.server.stop()

    def _update(self, wanted: S2DS, again: bool) -> bool:
        plan = wanted.plan(again)
        if self.check_mode:
            return plan.needed
        changed = wanted.carry_out(plan)
        try:
            self._write_record(wanted.spec)
        except BaseException:
            # The record must match what runs.
            current = self._record()
            if current is not None:
                with suppress(ScistreamError, OSError):
                    self.server.with_spec(current).update_listeners()
            raise
        return changed

    def _start(self, current: DataServerSpec | None, wanted: S2DS) -> bool:
        # Before the running data server is stopped.
        wanted.check_start(current)
        if self.check_mode:
            return True
        before: S2DS | None = None
        if current is not None:
            key = self.server.key
            before = wanted.with_spec(replace(current, key=key))
            wanted = wanted.with_spec(replace(wanted.spec, key=wanted.spec.key or key))
            before.release()
        try:
            self._start_and_record(wanted)
        except BaseException:
            wanted.release()
            if before is not None:
                self._start_and_record(before)
            raise
        return True

    def _start_and_record(self, server: S2DS) -> None:
        server.start()
        self._write_record(server.finish_start().spec)

    def _record(self) -> DataServerSpec | None:
        try:
            with open(os.path.join(self._directory, RECORD), encoding="utf-8") as stream:
                return _parse_record(json.load(stream))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise S2DSException(f"{self._directory}/{RECORD} cannot be read: {error}; use state absent") from None

    def _write_record(self, spec: DataServerSpec) -> None:
        self.server.write_files({RECORD: json.dumps(asdict(replace(spec, key=None)), sort_keys=True) + "\n"})

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Serialize runs on the same host."""
        if self.check_mode:
            yield
            return
        path = self.server.runtime.layout.state_dir
        make_directory(path)
        lock = os.open(os.path.join(path, "standalone.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def _parse_record(document: Mapping[str, Any]) -> DataServerSpec:
    return DataServerSpec(
        **{
            **document,
            "listeners": [Endpoint(**item) for item in document["listeners"]],
            "targets": [Endpoint(**item) for item in document["targets"]],
        }
    )


def _keep_ports(current: DataServerSpec | None, wanted: DataServerSpec) -> DataServerSpec:
    """Use the ports that were chosen earlier for listeners with the same address and port 0."""
    if current is None or len(current.listeners) != len(wanted.listeners):
        return wanted
    listeners = [
        old if not new.port and old.host == new.host else new for old, new in zip(current.listeners, wanted.listeners)
    ]
    return replace(wanted, listeners=listeners)
