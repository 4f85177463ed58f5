# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands with which an application announces itself (HELLO), while a run waits for it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible.utils.display import Display

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.exchange_file import write_file
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.formatting import readable
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.key import stream_secret
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.output import show_lines
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.run_commands import playbook_command
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import Stream

#: Default of the variable s2cs_hello_user of the role s2cs.
HELLO_USER = "scistream-hello"
SECRET_SUFFIX = ".secret"
_SYSTEM_CONFIG = "/etc/scistream/s2cs.json"
_PLACEHOLDER = "ADDRESS:PORT"


@dataclass(frozen=True)
class HelloCommands:
    """The commands for one gateway.

    Args:
        gateway: The gateway.
        directory: Directory of the files with the secrets of streams.
        program: Path of the program ``s2cs`` on the gateway.
        config: Path of its policy.
        login: Account and host for keys that can only say HELLO, empty if the gateway has none.
    """

    gateway: str
    directory: str
    program: str
    config: str
    login: str = ""

    def show(
        self, streams: Sequence[Stream], sessions: Mapping[tuple[str, str], Mapping[str, Any]], key: bytes
    ) -> None:
        """Write the secrets of streams to files, and show the commands.

        Args:
            streams: Streams whose applications have to announce themselves.
            sessions: Sessions of the gateway by uid and role.
            key: The user's key.

        Raises:
            ScistreamError: A file cannot be written.
        """
        for stream in streams:
            path = os.path.join(self.directory, f"{stream.name}{SECRET_SUFFIX}")
            written = write_file(path, stream_secret(key, stream.uid) + "\n")
            if written.get("failed"):
                raise ScistreamError(f"the secret of stream {stream.name} cannot be written: {written['msg']}")
            expires = (sessions.get((stream.uid, "producer")) or {}).get("expires")
            show_lines(self.lines(stream, path, readable(str(expires)) if expires else ""))

    def predict(self, streams: Sequence[Stream]) -> None:
        """Show for which applications a run would wait."""
        Display().display(f"{self.gateway}: would wait for the HELLO of {', '.join(each.name for each in streams)}")

    def lines(self, stream: Stream, path: str, expires: str) -> list[str]:
        """Return the commands for one stream, with what they need.

        Args:
            stream: The stream.
            path: Path of the file with its secret.
            expires: Time until which the gateway waits.
        """
        listeners = stream.producer_listeners or [_PLACEHOLDER]
        until = f" until {expires}" if expires else ""
        lines = [
            f"{stream.name}: waits for the HELLO of its producer application{until}. Say it in one of these ways:",
            f"  on {self.gateway}: {self._program_command(stream.uid, listeners, path)}",
        ]
        if self.login:
            words = shlex.join(["ssh", self.login, "hello", stream.uid, *listeners])
            lines.append(f"  over SSH with a key of s2cs_hello_keys: {words} < {shlex.quote(path)}")
        announced = [f"uid={stream.uid}", f"listeners={','.join(listeners)}"]
        lines.append(f"  on a control node: {playbook_command('hello', announced)}")
        lines.append(f"  {path} contains the secret of the stream: copy it to where the application runs")
        return lines

    def _program_command(self, uid: str, listeners: Sequence[str], path: str) -> str:
        separate = bool(self.program) and self.config not in ("", _SYSTEM_CONFIG)
        words = [self.program if separate else "s2cs", "hello", uid]
        for listener in listeners:
            words += ["--listener", listener]
        words += ["--secret-file", os.path.basename(path)]
        return shlex.join([*words, "--config", self.config] if separate else words)
