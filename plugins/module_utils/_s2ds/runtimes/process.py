# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runtime ``process`` on a host where data servers are started by systemd or by our own supervisor.

The setting ``supervisor`` decides which one starts new data servers. Those that the other one started before the
setting was changed can still be observed, signalled and stopped.
"""

from __future__ import annotations

from typing import Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.layout import Layout
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.host import HostRuntime
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.supervised import SupervisedProcess
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.systemd import SystemdUnit
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import Task


class ProcessRuntime(HostRuntime):
    """Starts data servers as the setting requires, and finds those that were started otherwise."""

    def __init__(self, layout: Layout, task: Task) -> None:
        super().__init__(layout, task)
        self.units, self.processes = SystemdUnit(layout, task), SupervisedProcess(layout, task)

    @property
    def chosen(self) -> SystemdUnit | SupervisedProcess:
        """The runtime that starts data servers now."""
        return self.units if self.layout.uses_systemd else self.processes

    @property
    def other(self) -> SystemdUnit | SupervisedProcess:
        """The runtime that may have started a data server earlier."""
        return self.processes if self.layout.uses_systemd else self.units

    def check(self) -> None:
        """Refuse what cannot be started now."""
        self.chosen.check()

    def start(self, command: Sequence[str]) -> None:
        """Start the program, after stopping it in the other runtime."""
        self.other.stop()
        self.chosen.start(command)

    def stop(self, save: bool = True) -> bool:
        """Stop the program, whichever runtime started it."""
        ended = [runtime.stop(save) for runtime in (self.processes, self.units)]
        return any(ended)

    def is_running(self) -> bool:
        """Return whether its main process is running."""
        return self._current().is_running()

    def signal(self, number: int) -> None:
        """Send a signal to its main process."""
        self._current().signal(number)

    def is_supervised(self) -> bool:
        """Return whether it is running, or will be restarted without an action of S2CS."""
        return self._current().is_supervised()

    def has_failed(self) -> bool:
        """Return whether the program exited since it was started."""
        return self._current().has_failed()

    def is_managed(self) -> bool:
        """Return whether either runtime started the program."""
        return self._current().is_managed()

    def log(self, lines: int = 10) -> list[str]:
        """Return the last lines of its log."""
        return self._current().log(lines)

    def _current(self) -> SystemdUnit | SupervisedProcess:
        """Return the runtime that has the program: the other one only if the chosen one does not."""
        return self.other if self.other.is_managed() and not self.chosen.is_managed() else self.chosen
