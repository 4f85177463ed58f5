# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Data servers without a control server: one instance brought to a wanted state, and what it is like now."""

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

# What an instance was last brought to; it keeps its ports by this.
RECORD = "instance.json"


class Standalone:
    """Brings one instance of a data server to a wanted state.

    Args:
        server: The data server.
        name: Name of the instance, as the runtime knows it.
        check_mode: Decide as always, but change nothing.
    """

    def __init__(self, server: S2DS, name: str, check_mode: bool) -> None:
        self.server = server
        self.name = name
        self.check_mode = check_mode
        self._directory = server.runtime.site.directory(name)

    def look(self) -> dict[str, Any]:
        """Return what the instance is like now."""
        try:
            found = self._record()
        except S2DSException:
            return {"name": self.name, "state": STOPPED, "running": False}
        if found is None:
            return {"name": self.name, "state": ABSENT, "running": False}
        status = self.server.status(found)
        return self._described(found, STARTED if status.running else STOPPED, status)

    def expect(self, state: str, wanted: DataServerSpec) -> dict[str, Any]:
        """Return what the instance would be like in a state; which ports would be chosen nobody can tell."""
        if state == ABSENT:
            return {"name": self.name, "state": ABSENT, "running": False}
        found = self._record()
        if state == STOPPED:
            return self._described(found or wanted, STOPPED, Status(False))
        return self._described(_with_ports_of(found, wanted), STARTED, Status(True))

    def _described(self, instance: DataServerSpec, state: str, status: Status) -> dict[str, Any]:
        return {
            "name": self.name,
            "state": state,
            "listeners": [str(item) for item in instance.listeners],
            "targets": [str(item) for item in instance.targets],
            "clients": list(instance.clients),
            "egress": instance.egress,
            "rate": instance.rate,
            "encryption": instance.encryption,
            "certificate": instance.certificate,
            "peer_certificate": instance.peer_certificate,
            **asdict(status),
        }

    def ensure(self, state: str, wanted: DataServerSpec) -> bool:
        """Bring the instance to a state; returns whether anything had to be done.

        Args:
            state: ``started``, ``stopped`` or ``absent``.
            wanted: What it is to be like when it is started.

        Raises:
            S2DSException: It cannot be brought there; what was before stands.
        """
        with self._locked():
            if state == ABSENT:
                return self._remove(wanted)
            found = self._record()
            if state == STOPPED:
                return self._stop(found)
            wanted = _with_ports_of(found, wanted)
            if found is not None and self._can_be_updated(found, wanted):
                return self._update(wanted, again=found != replace(wanted, key=None))
            return self._start(found, wanted)

    def _can_be_updated(self, found: DataServerSpec, wanted: DataServerSpec) -> bool:
        return (
            list(found.listeners) == list(wanted.listeners)
            and (found.role, found.encryption, found.transport) == (wanted.role, wanted.encryption, wanted.transport)
            and self.server.is_as_set(wanted)
        )

    def _remove(self, instance: DataServerSpec) -> bool:
        if self.check_mode:
            return os.path.isdir(self._directory)
        return self.server.release(instance)

    def _stop(self, found: DataServerSpec | None) -> bool:
        if found is None:
            raise S2DSException(f"state: there is no instance {self.name} to stop; start it first, or use absent")
        if self.check_mode:
            return self.server.status(found).running
        return self.server.stop(found)

    def _update(self, wanted: DataServerSpec, again: bool) -> bool:
        if self.check_mode:
            return again or self.server.needs_update(wanted)
        changed = self.server.update_listeners(wanted, again)
        try:
            self._write_record(wanted)
        except BaseException:
            # Without it the next call would not know what runs.
            found = self._record()
            if found is not None:
                with suppress(ScistreamError, OSError):
                    self.server.update_listeners(found)
            raise
        return changed

    def _start(self, found: DataServerSpec | None, wanted: DataServerSpec) -> bool:
        # Before anything ends that runs.
        self.server.foresee(wanted, found)
        if self.check_mode:
            return True
        if found is not None:
            key = self.server.key(found)
            found, wanted = replace(found, key=key), replace(wanted, key=wanted.key or key)
            self.server.release(found)
        try:
            self.server.start(wanted)
            self._write_record(self.server.settle(wanted))
        except BaseException:
            self.server.release(wanted)
            if found is not None:
                self.server.start(found)
                self._write_record(self.server.settle(found))
            raise
        return True

    def _record(self) -> DataServerSpec | None:
        try:
            with open(os.path.join(self._directory, RECORD), encoding="utf-8") as stream:
                return _instance(json.load(stream))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise S2DSException(f"{self._directory}/{RECORD} cannot be read: {error}; use state absent") from None

    def _write_record(self, instance: DataServerSpec) -> None:
        self.server.write_files(
            instance, {RECORD: json.dumps(asdict(replace(instance, key=None)), sort_keys=True) + "\n"}
        )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep two runs on the same host apart."""
        if self.check_mode:
            yield
            return
        path = self.server.runtime.site.state_dir
        make_directory(path, 0o711)
        lock = os.open(os.path.join(path, "standalone.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def _instance(document: Mapping[str, Any]) -> DataServerSpec:
    return DataServerSpec(
        **{
            **document,
            "listeners": [Endpoint(**item) for item in document["listeners"]],
            "targets": [Endpoint(**item) for item in document["targets"]],
        }
    )


def _with_ports_of(found: DataServerSpec | None, wanted: DataServerSpec) -> DataServerSpec:
    """Keep the ports that were chosen before, where any port will do and the addresses are the same."""
    if found is None or len(found.listeners) != len(wanted.listeners):
        return wanted
    listeners = [
        old if not new.port and old.host == new.host else new for old, new in zip(found.listeners, wanted.listeners)
    ]
    return replace(wanted, listeners=listeners)
