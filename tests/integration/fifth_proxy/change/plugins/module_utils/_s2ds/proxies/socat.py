# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The proxy socat: a process for each listener, and one for each connection."""

from __future__ import annotations

import signal
import time
from typing import Any, ClassVar, Mapping, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.activity import (
    carried_bytes,
    children,
    main_process,
    open_connections,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.bounded_files import read
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.processes import (
    check_not_stopped,
    started_at,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.programs import one_line
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.templated import TemplatedProxy
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import Control, DataServerSpec, Place

_PID = "run/socat.pid"
_RELOAD_SECONDS = 10.0
# socat knows no configuration: the file has its addresses, a line for each listener. On SIGHUP the listeners are
# replaced; connections have processes of their own, and go on.
_SCRIPT = """
serve() {
    listeners=
    while read -r from to; do
        "$0" -t "$2" "$from" "$to" &
        listeners="$listeners $!"
    done <"$1"
    echo $$ >run/socat.pid
}
trap 'kill $listeners; wait $listeners; serve "$@"' HUP
serve "$@"
until wait; do :; done
"""


class Socat(TemplatedProxy):
    """socat without encryption, for one network of clients."""

    name = "socat"
    config = "socat.conf"
    paths: ClassVar[Mapping[str, str]] = {"program": "socat"}
    numbers: ClassVar[Mapping[str, Sequence[int]]] = {"idle_timeout": (86400, 1, 86400)}

    def check(self, spec: DataServerSpec) -> None:
        """Refuse also more than one network of clients: socat compares with one."""
        super().check(spec)
        if len(spec.clients) > 1:
            raise S2DSException(
                "clients: the proxy socat can allow one network only, and there are "
                f"{', '.join(spec.clients)[:200]}: choose another proxy"
            )

    def command(self, directory: str) -> list[str]:
        """Return the command of a shell that starts a socat for each listener."""
        return ["/bin/sh", "-c", _SCRIPT, self.program, self.config, str(self.settings["idle_timeout"])]

    def check_command(self) -> list[str]:
        """Return a command that tells at least whether the program runs."""
        return [self.program, "-V"]

    def reload(self, place: Place, control: Control) -> None:
        """Have the shell replace its listeners."""
        main = main_process(place, _PID)
        before = set(children(main)) if main else set()
        control.signal(signal.SIGHUP)
        deadline = time.monotonic() + _RELOAD_SECONDS
        while not main or before & set(children(main)) or self.probe(place) is None:
            if time.monotonic() > deadline:
                raise S2DSException(f"socat did not load its new configuration: {one_line(control.log())}")
            time.sleep(0.02)

    def probe(self, place: Place) -> dict[str, Any] | None:
        """Return what the kernel tells of the connections that are open; socat counts nothing."""
        main = main_process(place, _PID)
        since = started_at(main) if main else None
        if not main or since is None:
            return None
        pids = [main]
        for pid in pids:
            pids.extend(children(pid))
        check_not_stopped("socat", pids)
        now = open_connections(pids)
        if len(now.listeners) < len(read(place.directory, self.config).splitlines()):
            return None
        to_consumer, to_producer = carried_bytes(now, encrypted=False)
        return {
            "since": since,
            "connections": {"open": len(now.accepted), "total": len(now.accepted), "refused": 0, "failed": 0},
            "bytes": {"to_consumer": to_consumer, "to_producer": to_producer},
            "last_byte": now.last_byte(0.0),
            "exact": False,
        }
