# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An event source of ansible-rulebook: what happens to the streams of gateways."""

from __future__ import annotations

import importlib.util
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

DOCUMENTATION = r"""
---
module: stream_events
short_description: Generate events when streams stall, die, expire or recover
version_added: 0.2.0
author: SciStream gateway developers (@scistream)
description:
  - An ansible-rulebook event source plugin that asks gateways for their sessions, and generates an event for each
    change. A stream has a session on each of its two gateways, and each of them generates events of its own.
  - The C(type) of an event is one of C(opened), C(released), C(expired), C(expiring), C(stalled), C(down),
    C(restarted), C(recovered), C(unreachable) and C(reachable).
  - The first report of a gateway generates events for the problems that it shows, but not for the streams that are
    already open.
  - Gateways are only asked. No secret of a stream is needed.
options:
  gateways:
    description:
      - The gateways, each as a dictionary.
      - C(url) is the address of the status page of a gateway, as configured by C(s2cs_status_address).
      - C(command) is a command that prints the output of C(s2cs info --json), as a list of words. It is run without a
        shell, for example over SSH. Exactly one of C(url) and C(command) is required.
      - C(name) is the name of the gateway in events. If omitted, the one that it reports is used.
    type: list
    elements: dict
    required: true
  interval:
    description: Number of seconds between two reports of a gateway.
    type: int
    default: 10
  timeout:
    description: Maximum number of seconds for a report. After that, the gateway counts as unreachable.
    type: int
    default: 10
  stall:
    description:
      - Number of seconds without a byte in either direction, while connections are open, after which a stream is
        stalled. With V(0), streams never stall.
    type: int
    default: 300
  expiring:
    description:
      - Remaining seconds of its lifetime from which a stream is expiring. With V(0), there are no such events.
    type: int
    default: 600
  repeat:
    description:
      - Number of seconds after which an event of the type C(down), C(stalled), C(expiring) or C(unreachable) is
        generated again if the problem lasts. With V(0), it is generated once.
    type: int
    default: 0
notes:
  - Requires the collection in the environment of ansible-rulebook, and nothing else.
  - Times are those of the gateways. With C(command), they are compared with the clock of this host.
"""

EXAMPLES = r"""
- scistream.gateway.stream_events:
    gateways:
      - url: http://gw-aps.example.org:9464/
      - name: gw-alcf
        command: [ssh, -oBatchMode=yes, gw-alcf.example.org, s2cs, info, --json]
    interval: 10
    stall: 120
    expiring: 900
"""

if TYPE_CHECKING:
    from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.gateway_polling import Queue


async def main(queue: Queue, args: dict[str, Any]) -> None:
    """Put events into the queue of ansible-rulebook until it ends."""
    _make_importable()
    from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.gateway_polling import read_settings, watch

    await watch(queue, read_settings(args))


def _make_importable() -> None:
    """Add the collection to the search path: ansible-rulebook runs this file by its path only."""
    with suppress(ModuleNotFoundError):
        if importlib.util.find_spec("ansible_collections.scistream.gateway") is not None:
            return
    root = Path(__file__).resolve().parents[6]
    sys.path.append(str(root.parent))
    # Another distribution may have it as a package with a fixed path.
    package = importlib.import_module("ansible_collections")
    if str(root) not in package.__path__:
        package.__path__.append(str(root))
