# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The data server S2DS: one proxy in one runtime, with the lifecycle start, update_listeners, release."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Iterator, Mapping

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import parse_endpoint
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException, ScistreamError
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds import credentials
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.files import Replacement, read
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.layout import make_directory
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observation import Observer
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe import connection_log, occupants
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.patience import Patience
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.programs import words
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.proxy import Proxy
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.runtime import Runtime
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import DataServerSpec, Status, Task

# For a proxy to answer again after a reload.
_AGAIN_SECONDS = 5.0
# Where a configuration is tried, below the directory of the instance.
_TRIAL = "trial"


class S2DS:
    """A data server. Methods raise S2DSException, or OSError for its files, and then leave what was there before.

    Args:
        proxy: What forwards.
        runtime: Where it runs.
    """

    def __init__(self, proxy: Proxy, runtime: Runtime) -> None:
        self.proxy = proxy
        self.runtime = runtime

    def check(self, instance: DataServerSpec) -> None:
        """Refuse, before anything changes, what cannot be done."""
        self.proxy.check(instance)
        if instance.encryption not in self.runtime.capabilities.encryptions:
            raise S2DSException(
                f"encryption: the runtime {self.runtime.name} cannot do {instance.encryption}, because what it is told "
                "others can read: choose another runtime, or ask for encryption none"
            )
        self.runtime.check(self._task(instance), self.proxy)

    def foresee(self, instance: DataServerSpec, before: DataServerSpec | None = None) -> None:
        """Refuse what ``start`` would refuse, and change nothing.

        Args:
            instance: What is to be started.
            before: What it takes the place of, whose ports are free by then.
        """
        self.check(instance)
        task = self._task(instance)
        self.runtime.owner(task.user)
        if instance.certificate is not None or self._is_wanted(instance):
            self._credentials(instance)
        if self._is_wanted(instance):
            self._files(instance)
            self.proxy.command(self.runtime.directory(task))
        if self.runtime.capabilities.listens_here:
            own = before.listeners if before else ()
            others = [listener for listener in instance.listeners if listener not in own]
            occupants.check(others, instance.transport, self.runtime.site.directory(instance.name))

    def start(self, instance: DataServerSpec) -> None:
        """Make the instance's directory and bring up its listeners, where the proxy holds them before the UPDATE.

        Returns at once; ``wait_ready`` waits, so that many can come up side by side.
        """
        self.check(instance)
        directory = self.runtime.site.directory(instance.name)
        self._make_directory(directory, self._task(instance))
        try:
            if instance.certificate is not None:
                self.write_credentials(instance)
            if self._is_wanted(instance):
                files = self._files(instance)
                self._verify(instance, files)
                self.write_files(instance, files)
                self._launch(instance)
        except BaseException:
            self.release(instance)
            raise

    def settle(self, instance: DataServerSpec) -> DataServerSpec:
        """Wait until the listeners are there, and write down the ports that were chosen, for the next start.

        Returns:
            The instance with its listeners as they are.
        """
        listeners = [parse_endpoint("listeners", text) for text in self.wait_ready(instance)]
        settled = replace(instance, listeners=listeners)
        if settled != instance:
            self.write_files(settled, self.proxy.files(settled))
        return settled

    def wait_ready(self, instance: DataServerSpec) -> list[str]:
        """Wait until the listeners are there, and return them."""
        if not self._is_wanted(instance):
            return [str(listener) for listener in instance.listeners]
        task = self._task(instance)
        patience = Patience(self.runtime.ready_seconds)
        while True:
            answer, reason = None, ""
            try:
                answer = self.runtime.probe(task, self.proxy)
            except S2DSException as error:
                # What comes up may be busy, or not complete yet.
                reason = str(error)
            if answer is not None:
                return self._observer(instance).listeners(answer)
            if self.runtime.has_failed(task):
                raise S2DSException(f"the data server {instance.name} ended at once: {self._last_words(task)}")
            if patience.is_over():
                raise S2DSException(
                    f"the data server {instance.name} was not ready after {patience.waited:.0f} s: "
                    f"{reason or self._last_words(task)}"
                )
            patience.rest()

    def needs_update(self, instance: DataServerSpec) -> bool:
        """Tell whether ``update_listeners`` would do anything."""
        if not self._is_wanted(instance):
            return self.runtime.is_running(self._task(instance))
        self.check(instance)
        files = self._files(instance)
        return read(self.runtime.site.directory(instance.name), files) != files or not self._serves(instance)

    def update_listeners(self, instance: DataServerSpec, again: bool = False) -> bool:
        """Point the listeners at the instance's targets; established connections go on where the proxy can reload.

        Args:
            instance: What it is to be like.
            again: Load the configuration even if it is there, because the last call may have ended before it did.

        Returns:
            Whether anything had to be done: a configuration that was in force already, in a proxy that runs, stays.
        """
        self.check(instance)
        if not self._is_wanted(instance):
            stopped = self.stop(instance)
            self.write_credentials(instance)
            return stopped
        directory = self.runtime.site.directory(instance.name)
        files = self._files(instance)
        task = self._task(instance)
        before = read(directory, files)
        running = self._serves(instance)
        if before == files and running and not again:
            self.tidy(instance)
            return False
        if running:
            self.runtime.check_room(task, self.proxy)
        self._make_directory(directory, task)
        self._verify(instance, files)
        try:
            with self._replaced(instance, files):
                if running:
                    self.runtime.reload(task, self.proxy)
                    self._need(instance)
                else:
                    self._launch(instance)
                    self.wait_ready(instance)
        except BaseException:
            # What went wrong is told, not what may go wrong in going back.
            with suppress(ScistreamError, OSError):
                if running:
                    self._restore(instance)
                else:
                    self.runtime.stop(task)
            raise
        self.tidy(instance)
        return True

    def _serves(self, instance: DataServerSpec) -> bool:
        """Tell whether the proxy answers, where a start would put it now."""
        task = self._task(instance)
        return not self.runtime.is_elsewhere(task) and self.runtime.probe(task, self.proxy) is not None

    def _need(self, instance: DataServerSpec) -> None:
        """See that a proxy that was told something listens: its word that it understood is not enough."""
        deadline = time.monotonic() + _AGAIN_SECONDS
        while True:
            answer, reason = None, ""
            try:
                answer = self.runtime.probe(self._task(instance), self.proxy)
            except S2DSException as error:
                reason = str(error)
            if answer is not None:
                self._observer(instance).listeners(answer)
                return
            if time.monotonic() > deadline:
                said = reason or self._last_words(self._task(instance))
                raise S2DSException(f"the data server {instance.name} does not listen any more: {said}")
            time.sleep(0.05)

    def _restore(self, instance: DataServerSpec) -> None:
        """Have a proxy that ran serve again what it served before, whose files are there again.

        One that does not listen then is started anew: that ends its connections, and without it there are no others.
        """
        try:
            self.runtime.reload(self._task(instance), self.proxy)
            self._need(instance)
        except ScistreamError:
            self._launch(instance)
            self.wait_ready(instance)

    def write_credentials(self, instance: DataServerSpec) -> bool:
        """Write the certificates and the key of an instance that does not forward yet; returns whether they are new.

        Raises:
            S2DSException: They cannot be used; it names the option that is wrong.
        """
        self.proxy.check(instance)
        directory = self.runtime.site.directory(instance.name)
        files = self._credentials(instance)
        if read(directory, files) == files:
            return False
        self._make_directory(directory, self._task(instance))
        self.write_files(instance, files)
        return True

    def needs_credentials(self, instance: DataServerSpec) -> bool:
        """Tell whether ``write_credentials`` would do anything; refuses what that refuses."""
        self.proxy.check(instance)
        files = self._credentials(instance)
        return read(self.runtime.site.directory(instance.name), files) != files

    def key(self, instance: DataServerSpec) -> str | None:
        """Return the private key that the instance has, or None."""
        return credentials.read_key(self.runtime.site.directory(instance.name))

    def strangers(self, instance: DataServerSpec) -> list[str]:
        """Return which listeners something else on this host has, each with the process that has it."""
        return self._observer(instance).strangers()

    def is_as_set(self, instance: DataServerSpec) -> bool:
        """Tell whether it was started with the settings that would be used now."""
        return self.runtime.is_as_set(self._task(instance))

    def stop(self, instance: DataServerSpec) -> bool:
        """End the data server and keep its directory."""
        return self.runtime.stop(self._task(instance))

    def end(self, instance: DataServerSpec) -> bool:
        """End the data server and remove what it had outside of its directory; returns whether there was anything."""
        return self.runtime.remove(self._task(instance))

    def release(self, instance: DataServerSpec) -> bool:
        """End the data server and remove everything that it had; returns whether there was anything."""
        removed = self.end(instance)
        directory = self.runtime.site.directory(instance.name)
        if not os.path.isdir(directory):
            return removed
        try:
            shutil.rmtree(directory)
        except OSError as error:
            raise S2DSException(f"the directory {directory} cannot be removed: {error}") from None
        return True

    def status(self, instance: DataServerSpec) -> Status:
        """Return what is seen of the data server; it changes nothing."""
        return self._observer(instance).status() if self._is_wanted(instance) else Status(False, health="idle")

    def has_much_to_tidy(self, instance: DataServerSpec) -> bool:
        """Tell whether the log of connections takes much room here."""
        return connection_log.is_large(self.runtime.site.directory(instance.name), self.proxy.log)

    def tidy(self, instance: DataServerSpec) -> None:
        """Keep what the log of connections came to, and free its room; a fault of that keeps nothing else."""
        if self.proxy.log and self._is_wanted(instance):
            with suppress(S2DSException, OSError, ValueError):
                self.runtime.tidy(self._task(instance), self.proxy)

    def _verify(self, instance: DataServerSpec, files: Mapping[str, str | None]) -> None:
        """Have the program check files in a directory like that of the instance, where they cannot do any harm."""
        if not self.proxy.verifies:
            return
        task = self._task(instance)
        directory = self.runtime.site.directory(instance.name)
        trial = os.path.join(directory, _TRIAL)
        try:
            self._make_directory(trial, task)
            present: dict[str, str | None] = {}
            if instance.encryption != "none":
                present = read(directory, credentials.FILES)
            self._replacement(trial, {**present, **files}, task).keep()
            self.proxy.verify(trial, lambda command, where: self.runtime.run_once(task, command, where))
        finally:
            shutil.rmtree(trial, ignore_errors=True)

    def _files(self, instance: DataServerSpec) -> dict[str, str | None]:
        """Return all files that the instance is to have, but a key that it keeps."""
        credentials.check_complete(instance, instance.key is not None or self.key(instance) is not None)
        return {**self._credentials(instance), **self.proxy.files(instance)}

    def _credentials(self, instance: DataServerSpec) -> dict[str, str | None]:
        """Return the files by which the gateways know each other, after a check of those that are new."""
        files = credentials.files(instance)
        before = read(self.runtime.site.directory(instance.name), files)
        new = {name for name, text in files.items() if text is not None and text != before[name]}
        if new:
            # What is there already may have expired, and yet something else be wanted.
            own = bool(new - {credentials.PEER})
            credentials.check(
                replace(
                    instance,
                    certificate=instance.certificate if own else None,
                    peer_certificate=instance.peer_certificate if credentials.PEER in new else None,
                ),
                (instance.key or self.key(instance)) if own else None,
            )
        return files

    def _is_wanted(self, instance: DataServerSpec) -> bool:
        return self.proxy.capabilities.holds_listeners or bool(instance.targets)

    def _task(self, instance: DataServerSpec) -> Task:
        proxy = self.proxy
        return Task(
            instance.name,
            proxy.unit,
            proxy.user,
            proxy.open_files,
            proxy.tasks(instance),
            proxy.most_tasks(instance),
            proxy.kept,
        )

    def _launch(self, instance: DataServerSpec) -> None:
        task = self._task(instance)
        if self.proxy.log:
            directory = self.runtime.site.directory(instance.name)
            connection_log.make(directory, self.proxy.log, self.runtime.file_mode)
        self.runtime.start(task, self.proxy.command(self.runtime.directory(task)))

    def _observer(self, instance: DataServerSpec) -> Observer:
        return Observer(self.proxy, self.runtime, instance, self._task(instance))

    def _last_words(self, task: Task) -> str:
        return words(self.runtime.said(task, self.proxy))

    def _make_directory(self, directory: str, task: Task) -> None:
        """Make a directory: the proxy may read it, and write only into its part ``run``."""
        try:
            make_directory(self.runtime.site.state_dir, 0o711)
            make_directory(self.runtime.site.sessions_dir, 0o711)
            access = self.runtime.access(task)
            for path, (user, group, mode) in (
                (directory, (*access.owner, 0o750)),
                (os.path.join(directory, "run"), access.run),
            ):
                os.makedirs(path, exist_ok=True)
                os.chown(path, user, group)
                os.chmod(path, mode)
        except OSError as error:
            raise S2DSException(f"the directory {directory} cannot be made: {error.strerror}") from None

    def write_files(self, instance: DataServerSpec, files: Mapping[str, str | None]) -> None:
        """Replace files of an instance, all or none, each as a whole; a text of None removes the file."""
        with self._replaced(instance, files):
            pass

    @contextmanager
    def _replaced(self, instance: DataServerSpec, files: Mapping[str, str | None]) -> Iterator[None]:
        """Replace files of an instance; where what follows fails, for whatever reason, they are put back."""
        task = self._task(instance)
        replacement = self._replacement(self.runtime.site.directory(instance.name), files, task)
        try:
            self.runtime.deliver(task)
            yield
        except BaseException:
            replacement.undo()
            with suppress(ScistreamError, OSError):
                self.runtime.deliver(task)
            raise
        replacement.keep()

    def _replacement(self, directory: str, files: Mapping[str, str | None], task: Task) -> Replacement:
        access = self.runtime.access(task)
        return Replacement(directory, files, (*access.owner, access.mode), access.secret, (credentials.KEY,))
