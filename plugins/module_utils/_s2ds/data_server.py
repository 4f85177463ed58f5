# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The data server S2DS: one proxy in one runtime for one session, with start, update_listeners and release."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Mapping

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import parse_endpoint
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException, ScistreamError
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds import credentials
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe import connection_log, port_conflicts
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observer import Observer
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.proxy import Proxy
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.readiness import Readiness
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.runtime import Runtime
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import DataServerSpec, Status
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.workspace import Workspace

# What a plan does with the program.
NOTHING, START, RELOAD, STOP = "nothing", "start", "reload", "stop"


@dataclass(frozen=True)
class Plan:
    """What has to be done so that a data server matches its specification. It is computed once, then carried out.

    Args:
        step: What is done with the program.
        needed: Whether carrying out the plan changes anything.
        files: Contents of the files that are written before that, which may include a key. None removes a file.
    """

    step: str
    needed: bool
    files: Mapping[str, str | None] = field(default_factory=dict, repr=False)


class S2DS:
    """A data server. Methods that fail raise S2DSException, or OSError for its files, and restore what was there.

    Args:
        proxy: What forwards.
        runtime: Where it runs.
        spec: Its specification.
    """

    def __init__(self, proxy: Proxy, runtime: Runtime, spec: DataServerSpec) -> None:
        self.proxy = proxy
        self.runtime = runtime
        self.spec = spec
        self._workspace = Workspace(runtime)
        self._observer = Observer(proxy, runtime, spec)
        self._readiness = Readiness(proxy, runtime, spec, self._observer)

    def with_spec(self, spec: DataServerSpec) -> S2DS:
        """Return the same data server with another specification of the same name."""
        return S2DS(self.proxy, self.runtime, spec)

    def check(self) -> None:
        """Refuse, before anything changes, what cannot be done."""
        self.proxy.check(self.spec)
        if self.spec.encryption not in self.runtime.capabilities.encryptions:
            raise S2DSException(
                f"encryption: the runtime {self.runtime.name} does not support {self.spec.encryption}, because others "
                "can read its configuration: choose another runtime, or encryption none"
            )
        self.runtime.check()

    def check_start(self, before: DataServerSpec | None = None) -> None:
        """Refuse what ``start`` would refuse, without changing anything.

        Args:
            before: Specification of the data server that it replaces, whose ports will be free by then.
        """
        self.check()
        self.runtime.owner()
        self._initial_files()
        if self.should_run:
            self.proxy.command(self.runtime.directory())
        if self.runtime.capabilities.listens_here:
            own = before.own_endpoints if before else ()
            others = [listener for listener in self.spec.own_endpoints if listener not in own]
            port_conflicts.check(others, self.spec.transport, self._workspace.path)

    def start(self, checked: bool = False) -> None:
        """Create the directory, and start the program if it should run.

        Does not wait until the program is ready, so that many can start in parallel: see ``wait_ready``.

        Args:
            checked: Whether ``check`` was called already.
        """
        if not checked:
            self.check()
        self._workspace.make()
        try:
            files = self._initial_files()
            if self.should_run:
                self._verify(files)
            if files:
                self._workspace.write(files)
            if self.should_run:
                self._launch()
        except BaseException:
            self.release()
            raise

    def wait_ready(self) -> list[str]:
        """Wait until the program listens, and return its listeners."""
        return self._readiness.wait() if self.should_run else [str(listener) for listener in self.spec.listeners]

    def finish_start(self) -> S2DS:
        """Wait until the program listens, and record the ports that it chose, for the next start.

        Returns:
            The data server with its actual listeners.
        """
        listeners = [parse_endpoint("listeners", text) for text in self.wait_ready()]
        started = self.with_spec(replace(self.spec, listeners=listeners))
        if started.spec != self.spec:
            self._workspace.write(self.proxy.files(started.spec))
        return started

    def plan(self, again: bool = False) -> Plan:
        """Return what has to be done so that the data server matches its specification.

        Args:
            again: Reload the configuration even if it is in place, because an earlier call may have been killed before
                it did so.

        Raises:
            S2DSException: It cannot be done.
        """
        if not self.should_run:
            return Plan(STOP, needed=self.runtime.is_running())
        self.check()
        files = self._files()
        if not self._serves():
            return Plan(START, True, files)
        if self._workspace.has(files) and not again:
            return Plan(NOTHING, False)
        self.runtime.check_room()
        return Plan(RELOAD, True, files)

    def plan_credentials(self) -> Plan:
        """Return what has to be done so that the certificates and the key are in place before the UPDATE.

        Raises:
            S2DSException: They cannot be used. It names the option that is wrong.
        """
        self.proxy.check(self.spec)
        files = credentials.files_in(self._workspace.path, self.spec)
        return Plan(NOTHING, False) if self._workspace.has(files) else Plan(NOTHING, True, files)

    def carry_out(self, plan: Plan) -> bool:
        """Carry out a plan. Established connections continue if the proxy can reload.

        Returns:
            Whether anything changed.
        """
        if plan.step == STOP:
            stopped = self.stop()
            self.write_credentials()
            return stopped
        if plan.needed:
            self._workspace.make()
        if plan.step == NOTHING:
            if plan.files:
                self._workspace.write(plan.files)
        else:
            self._verify(plan.files)
            self._replace(plan)
        self.compact_log()
        return plan.needed

    def update_listeners(self, again: bool = False) -> bool:
        """Forward the listeners to the targets. Returns whether anything changed."""
        return self.carry_out(self.plan(again))

    def write_credentials(self) -> bool:
        """Write the certificates and the key before the UPDATE. Returns whether they changed."""
        return self.carry_out(self.plan_credentials())

    def write_files(self, files: Mapping[str, str | None]) -> None:
        """Replace files in the directory, all or none. A content of None removes the file."""
        self._workspace.write(files)

    @property
    def should_run(self) -> bool:
        """Whether the program should run: one that does not hold listeners before the UPDATE starts with it."""
        return self.proxy.capabilities.holds_listeners or bool(self.spec.targets)

    @property
    def key(self) -> str | None:
        """The private key in the directory, or None."""
        return credentials.read_key(self._workspace.path)

    def listener_conflicts(self) -> list[str]:
        """Return the listeners whose ports are used by other programs of this host, each with the process."""
        return self.runtime.listener_conflicts(self.spec.own_endpoints, self.spec.transport)

    def has_current_settings(self) -> bool:
        """Return whether it was started with the current settings."""
        return self.runtime.has_current_settings()

    def stop(self) -> bool:
        """Stop the program, but leave the directory. Returns whether it was running."""
        return self.runtime.stop()

    def remove_from_runtime(self) -> bool:
        """Stop the program, and remove everything outside of the directory. Returns whether there was anything."""
        return self.runtime.remove()

    def release(self) -> bool:
        """Stop the program, and remove everything that belongs to it. Returns whether there was anything."""
        ended = self.remove_from_runtime()
        return self._workspace.remove() or ended

    def status(self) -> Status:
        """Return the status, without changing anything."""
        return self._observer.status() if self.should_run else Status(False, health="idle")

    def is_abandoned(self) -> bool:
        """Return whether it should run, but nothing will restart it."""
        return self.should_run and not self.runtime.is_supervised()

    def needs_log_compaction(self) -> bool:
        """Return whether the connection log uses much disk space."""
        return connection_log.is_large(self._workspace.path, self.proxy.log)

    def compact_log(self) -> None:
        """Store the totals of the connection log, and free its disk space. Failures are ignored."""
        if self.proxy.log and self.should_run:
            with suppress(S2DSException, OSError, ValueError):
                self.runtime.compact_log(self.proxy)

    def _serves(self) -> bool:
        """Return whether the proxy answers in the place where it would be started now."""
        return not self.runtime.is_on_other_engine() and self.runtime.probe(self.proxy) is not None

    def _replace(self, plan: Plan) -> None:
        """Replace the files, and start or reload the program with them. If that fails, roll back."""
        try:
            with self._workspace.replaced(plan.files):
                if plan.step == RELOAD:
                    self._reload()
                else:
                    self._launch()
                    self._readiness.wait()
        except BaseException:
            # The original error is reported, not errors of the rollback.
            with suppress(ScistreamError, OSError):
                if plan.step == RELOAD:
                    self._restore()
                else:
                    self.runtime.stop()
            raise

    def _reload(self) -> None:
        self.runtime.reload(self.proxy)
        self._readiness.wait_after_reload()

    def _restore(self) -> None:
        """Have a running program serve with its previous files, which are in place again.

        If it no longer listens, it is restarted. This closes its connections, but otherwise there would be no new ones.
        """
        try:
            self._reload()
        except ScistreamError:
            self._launch()
            self._readiness.wait()

    def _launch(self) -> None:
        if self.proxy.log:
            connection_log.create(self._workspace.path, self.proxy.log, self.runtime.file_mode)
        self.runtime.start(self.proxy.command(self.runtime.directory()))

    def _verify(self, files: Mapping[str, str | None]) -> None:
        """Have the program check files, if it can."""
        if self.proxy.verifies:
            self._workspace.try_out(files, lambda trial: self.proxy.verify(trial, self.runtime.run_once))

    def _initial_files(self) -> dict[str, str | None]:
        """Return the files for the start. A program that does not run yet has at most a certificate."""
        if self.should_run:
            return self._files()
        return {} if self.spec.certificate is None else credentials.files_in(self._workspace.path, self.spec)

    def _files(self) -> dict[str, str | None]:
        """Return all files of the specification, except a key that is in place already."""
        credentials.check_complete(self.spec, self.spec.key is not None or self.key is not None)
        return {**credentials.files_in(self._workspace.path, self.spec), **self.proxy.files(self.spec)}
