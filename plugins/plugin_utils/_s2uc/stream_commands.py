# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands that repair streams and gateways, for a user of the control node."""

from __future__ import annotations

from ansible_collections.scistream.gateway.plugins.module_utils._common.problems import Commands
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_view import SessionView
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.run_commands import (
    description_files,
    module_command,
    playbook_command,
    release_command,
)


class ControlNodeCommands(Commands):
    """The commands for the sessions of one gateway.

    Args:
        gateway: Name of the gateway in the inventory.
    """

    def __init__(self, gateway: str) -> None:
        self._gateway = gateway
        self.open = playbook_command("stream_open", description_files() or ["@streams.yml"])

    def apply(self) -> str:
        """Make the gateways match the description."""
        return playbook_command("streams", description_files() or ["@streams.yml"])

    def release(self, uid: str) -> str:
        return release_command([uid])

    def hello(self, uid: str) -> str:
        # The playbook that opens a stream sends it again.
        return self.open

    def drop(self, uid: str) -> str:
        return playbook_command("stream_drop", [f"uid={uid}"])

    def reach(self, session: SessionView) -> str:
        host, _colon, port = (session.targets[0] if session.targets else "").rpartition(":")
        if not host:
            return self.open
        arguments = f"host={host.strip('[]')} port={port} timeout=5"
        return module_command(self._gateway, "ansible.builtin.wait_for", arguments)

    def dial(self, session: SessionView) -> str:
        host, _colon, port = (session.without[0] if session.without else "").rpartition(":")
        if session.role != "producer" or not host:
            return self.open
        arguments = f"host={host.strip('[]')} port={port} timeout=5"
        return module_command(self._gateway, "ansible.builtin.wait_for", arguments)

    def admit(self, session: SessionView) -> str:
        return self.open

    def configure(self, gateway: str) -> str:
        return playbook_command("gateway", options=["--limit", gateway])

    def contact(self) -> str:
        """Connect to the gateway."""
        return module_command(self._gateway, "ansible.builtin.ping")

    def query(self) -> str:
        """Show what the gateway answers."""
        return module_command(self._gateway, "scistream.gateway.s2cs_info")
