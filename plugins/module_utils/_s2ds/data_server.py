# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The data server S2DS: one proxy in one runtime for one session, with start, update_listeners and release."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Mapping

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import parse_endpoint
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException, ScistreamError
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds import credentials
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observation import Observer
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe import connection_log, occupants
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.plan import NOTHING, RELOAD, START, STOP, Plan
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.proxy import Proxy
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.readiness import Readiness
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.runtime import Runtime
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import DataServerSpec, Status
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.workspace import Workspace


class S2DS:
    """A data server. Methods raise S2DSException, or OSError for its files, and then leave what was there before.

    Args:
        proxy: What forwards.
        runtime: Where it runs.
        spec: What it is to be like.
    """

    def __init__(self, proxy: Proxy, runtime: Runtime, spec: DataServerSpec) -> None:
        self.proxy = proxy
        self.runtime = runtime
        self.spec = spec
        self._workspace = Workspace(runtime)
        self._observer = Observer(proxy, runtime, spec)
        self._readiness = Readiness(proxy, runtime, spec, self._observer)

    def as_specified(self, spec: DataServerSpec) -> S2DS:
        """Return the same data server as another spec of the same name says."""
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

    def foresee(self, before: DataServerSpec | None = None) -> None:
        """Refuse what ``start`` would refuse, and change nothing.

        Args:
            before: What it takes the place of, whose ports are free by then.
        """
        self.check()
        self.runtime.owner()
        self._initial_files()
        if self.is_wanted:
            self.proxy.command(self.runtime.directory())
        if self.runtime.capabilities.listens_here:
            own = before.listeners if before else ()
            others = [listener for listener in self.spec.listeners if listener not in own]
            occupants.check(others, self.spec.transport, self._workspace.path)

    def start(self, checked: bool = False) -> None:
        """Make the directory and bring up the listeners, where the proxy holds them before the UPDATE.

        Returns at once; ``wait_ready`` waits, so that many can come up side by side.

        Args:
            checked: Whether ``check`` was called already.
        """
        if not checked:
            self.check()
        self._workspace.make()
        try:
            files = self._initial_files()
            if self.is_wanted:
                self._verify(files)
            if files:
                self._workspace.write(files)
            if self.is_wanted:
                self._launch()
        except BaseException:
            self.release()
            raise

    def wait_ready(self) -> list[str]:
        """Wait until the listeners are there, and return them."""
        return self._readiness.wait() if self.is_wanted else [str(listener) for listener in self.spec.listeners]

    def settle(self) -> S2DS:
        """Wait until the listeners are there, and write down the ports that were chosen, for the next start.

        Returns:
            The data server with its listeners as they are.
        """
        listeners = [parse_endpoint("listeners", text) for text in self.wait_ready()]
        settled = self.as_specified(replace(self.spec, listeners=listeners))
        if settled.spec != self.spec:
            self._workspace.write(self.proxy.files(settled.spec))
        return settled

    def plan(self, again: bool = False) -> Plan:
        """Find out what has to be done so that it is as its spec says; refuses what cannot be done.

        Args:
            again: Load the configuration even if it is there, because the last call may have ended before it did.
        """
        if not self.is_wanted:
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
        """Find out whether the certificates and the key of one that does not forward yet are there already.

        Raises:
            S2DSException: They cannot be used; it names the option that is wrong.
        """
        self.proxy.check(self.spec)
        files = credentials.files_in(self._workspace.path, self.spec)
        return Plan(NOTHING, False) if self._workspace.has(files) else Plan(NOTHING, True, files)

    def carry_out(self, plan: Plan) -> bool:
        """Do what a plan says; established connections go on where the proxy can reload.

        Returns:
            Whether anything had to be done: a configuration that was in force already, in a proxy that runs, stays.
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
        self.tidy()
        return plan.needed

    def update_listeners(self, again: bool = False) -> bool:
        """Point the listeners at the targets; returns whether anything had to be done."""
        return self.carry_out(self.plan(again))

    def write_credentials(self) -> bool:
        """Write the certificates and the key of one that does not forward yet; returns whether they are new."""
        return self.carry_out(self.plan_credentials())

    def write_files(self, files: Mapping[str, str | None]) -> None:
        """Replace files in its directory, all or none, each as a whole; a text of None removes the file."""
        self._workspace.write(files)

    @property
    def is_wanted(self) -> bool:
        """Whether its program is to run: one that holds no listeners before the UPDATE has nothing to do until then."""
        return self.proxy.capabilities.holds_listeners or bool(self.spec.targets)

    @property
    def key(self) -> str | None:
        """The private key that it has, or None."""
        return credentials.read_key(self._workspace.path)

    def strangers(self) -> list[str]:
        """Return which listeners something else on this host has, each with the process that has it."""
        return self._observer.strangers()

    def is_as_set(self) -> bool:
        """Tell whether it was started with the settings that would be used now."""
        return self.runtime.is_as_set()

    def stop(self) -> bool:
        """End it and keep its directory; returns whether it ran."""
        return self.runtime.stop()

    def end(self) -> bool:
        """End it and remove what it had outside of its directory; returns whether there was anything."""
        return self.runtime.remove()

    def release(self) -> bool:
        """End it and remove everything that it had; returns whether there was anything."""
        ended = self.end()
        return self._workspace.remove() or ended

    def status(self) -> Status:
        """Return what is seen of it; nothing changes."""
        return self._observer.status() if self.is_wanted else Status(False, health="idle")

    def has_much_to_tidy(self) -> bool:
        """Tell whether the log of connections takes much room here."""
        return connection_log.is_large(self._workspace.path, self.proxy.log)

    def tidy(self) -> None:
        """Keep what the log of connections came to, and free its room; a fault of that keeps nothing else."""
        if self.proxy.log and self.is_wanted:
            with suppress(S2DSException, OSError, ValueError):
                self.runtime.tidy(self.proxy)

    def _serves(self) -> bool:
        """Tell whether the proxy answers, where a start would put it now."""
        return not self.runtime.is_elsewhere() and self.runtime.probe(self.proxy) is not None

    def _replace(self, plan: Plan) -> None:
        """Replace files and have the program work with them; where that fails, go back to what was."""
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
        self._readiness.wait_again()

    def _restore(self) -> None:
        """Have a proxy that ran serve again what it served before, whose files are there again.

        One that no longer listens is restarted: this closes its connections, but otherwise there would be no new ones.
        """
        try:
            self._reload()
        except ScistreamError:
            self._launch()
            self._readiness.wait()

    def _launch(self) -> None:
        if self.proxy.log:
            connection_log.make(self._workspace.path, self.proxy.log, self.runtime.file_mode)
        self.runtime.start(self.proxy.command(self.runtime.directory()))

    def _verify(self, files: Mapping[str, str | None]) -> None:
        """Have the program check files, where it can."""
        if self.proxy.verifies:
            self._workspace.try_out(files, lambda trial: self.proxy.verify(trial, self.runtime.run_once))

    def _initial_files(self) -> dict[str, str | None]:
        """Return the files with which it begins; what does not run yet has at most a certificate."""
        if self.is_wanted:
            return self._files()
        return {} if self.spec.certificate is None else credentials.files_in(self._workspace.path, self.spec)

    def _files(self) -> dict[str, str | None]:
        """Return all files that it is to have, but a key that it keeps."""
        credentials.check_complete(self.spec, self.spec.key is not None or self.key is not None)
        return {**credentials.files_in(self._workspace.path, self.spec), **self.proxy.files(self.spec)}
