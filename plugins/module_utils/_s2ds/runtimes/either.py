# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runtime ``process`` on a host where both systemd and our own supervisor could have started a data server.

What starts new ones is a setting, and it may have been another when a session was opened: that session can be seen,
signalled and ended all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.layout import Layout
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.host import HostRuntime
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.supervised import SupervisedProcess
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.systemd import SystemdUnit
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import Task

if TYPE_CHECKING:
    from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.proxy import Proxy


class EitherRuntime(HostRuntime):
    """Starts with what the site chose, and finds what the other one started."""

    def __init__(self, site: Layout) -> None:
        super().__init__(site)
        self.units, self.processes = SystemdUnit(site), SupervisedProcess(site)

    @property
    def chosen(self) -> SystemdUnit | SupervisedProcess:
        """What starts data servers now."""
        return self.units if self.site.uses_systemd else self.processes

    @property
    def other(self) -> SystemdUnit | SupervisedProcess:
        """What may have started one before."""
        return self.processes if self.site.uses_systemd else self.units

    def check(self, task: Task, proxy: Proxy) -> None:
        """Refuse what cannot be started now."""
        self.chosen.check(task, proxy)

    def start(self, task: Task, command: Sequence[str]) -> None:
        """End what the other one started, and start it anew."""
        self.other.stop(task)
        self.chosen.start(task, command)

    def stop(self, task: Task, keep: bool = True) -> bool:
        """End it, whoever started it."""
        ended = [runtime.stop(task, keep) for runtime in (self.processes, self.units)]
        return any(ended)

    def is_running(self, task: Task) -> bool:
        """Tell whether its main process runs."""
        return self._holder(task).is_running(task)

    def signal(self, task: Task, number: int) -> None:
        """Send a signal to its main process."""
        self._holder(task).signal(task, number)

    def has_failed(self, task: Task) -> bool:
        """Tell whether it ended by itself since it was started."""
        return self._holder(task).has_failed(task)

    def has(self, task: Task) -> bool:
        """Tell whether one of both has started it."""
        return self._holder(task).has(task)

    def log(self, task: Task, lines: int = 10) -> list[str]:
        """Return the last lines of its log."""
        return self._holder(task).log(task, lines)

    def _holder(self, task: Task) -> SystemdUnit | SupervisedProcess:
        """Return what has it: the other one only if the chosen one has not."""
        return self.other if self.other.has(task) and not self.chosen.has(task) else self.chosen
