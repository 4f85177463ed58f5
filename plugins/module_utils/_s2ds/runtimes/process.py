# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runtime ``process`` on a host where both systemd and our own supervisor could have started a data server.

What starts new ones is a setting, and it may have been another when a session was opened: that session can be seen,
signalled and ended all the same.
"""

from __future__ import annotations

from typing import Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.layout import Layout
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.host import HostRuntime
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.supervised import SupervisedProcess
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.systemd import SystemdUnit
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import Task


class ProcessRuntime(HostRuntime):
    """Starts with what the site chose, and finds what the other one started."""

    def __init__(self, layout: Layout, task: Task) -> None:
        super().__init__(layout, task)
        self.units, self.processes = SystemdUnit(layout, task), SupervisedProcess(layout, task)

    @property
    def chosen(self) -> SystemdUnit | SupervisedProcess:
        """What starts data servers now."""
        return self.units if self.layout.uses_systemd else self.processes

    @property
    def other(self) -> SystemdUnit | SupervisedProcess:
        """What may have started one before."""
        return self.processes if self.layout.uses_systemd else self.units

    def check(self) -> None:
        """Refuse what cannot be started now."""
        self.chosen.check()

    def start(self, command: Sequence[str]) -> None:
        """Stop what the other one started, and start it again."""
        self.other.stop()
        self.chosen.start(command)

    def stop(self, save: bool = True) -> bool:
        """Stop it, regardless of which one started it."""
        ended = [runtime.stop(save) for runtime in (self.processes, self.units)]
        return any(ended)

    def is_running(self) -> bool:
        """Tell whether its main process runs."""
        return self._current().is_running()

    def signal(self, number: int) -> None:
        """Send a signal to its main process."""
        self._current().signal(number)

    def has_failed(self) -> bool:
        """Tell whether it ended by itself since it was started."""
        return self._current().has_failed()

    def is_managed(self) -> bool:
        """Tell whether one of both has started it."""
        return self._current().is_managed()

    def log(self, lines: int = 10) -> list[str]:
        """Return the last lines of its log."""
        return self._current().log(lines)

    def _current(self) -> SystemdUnit | SupervisedProcess:
        """Return what has it: the other one only if the chosen one has not."""
        return self.other if self.other.is_managed() and not self.chosen.is_managed() else self.chosen
