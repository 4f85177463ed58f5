# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Commands for the control node, with the inventory and the connection options of this run, ready to paste."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from ansible import context

#: Options of ansible-playbook for the connection to gateways, by the name of the parsed option.
_VALUES = {
    "remote_user": "-u",
    "private_key_file": "--private-key",
    "connection": "-c",
    "become_method": "--become-method",
    "become_user": "--become-user",
}
_DEFAULTS = ("ssh", "smart", "sudo")
_FLAGS = {"become": "-b", "become_ask_pass": "-K", "ask_pass": "-k", "ask_vault_pass": "-J"}
#: Extra variables that the command needs. Others are omitted, because they may be secret.
_VARIABLES = ("scistream_gateways", "scistream_key_file")


def release_command(uids: Sequence[str]) -> str:
    """Return the command that releases sessions."""
    return playbook_command(
        "stream_release", [f"uid={uids[0]}" if len(uids) == 1 else json.dumps({"uids": list(uids)})]
    )


def playbook_command(playbook: str, extra: Sequence[str] = (), options: Sequence[str] = ()) -> str:
    """Return the command that runs a playbook of this collection.

    Args:
        playbook: Name of the playbook.
        extra: Extra variables, in addition to those of this run that all playbooks need.
        options: Further options.
    """
    words = ["ansible-playbook", *_connection(), f"scistream.gateway.{playbook}", *options]
    for name, value in _given(_options().get("extra_vars") or ()):
        words += ["-e", f"{name}={value}"]
    for text in extra:
        words += ["-e", text]
    return " ".join(map(shlex.quote, words))


def module_command(host: str, module: str, arguments: str = "") -> str:
    """Return the command that runs a module on a host."""
    words = ["ansible", *_connection(), host, "-m", module, *(["-a", arguments] if arguments else [])]
    return " ".join(map(shlex.quote, words))


def description_files() -> list[str]:
    """Return the files with extra variables of this run, each as ``@FILE``."""
    return [text for text in map(str, _options().get("extra_vars") or ()) if text.startswith("@")]


def _options() -> Mapping[str, Any]:
    return context.CLIARGS if isinstance(context.CLIARGS, Mapping) else {}


def _connection() -> list[str]:
    """Return the inventory and the connection options of this run."""
    options = _options()
    words = []
    for inventory in options.get("inventory") or ():
        words += ["-i", inventory]
    for name, option in _VALUES.items():
        if options.get(name) not in (None, "", *_DEFAULTS):
            words += [option, str(options[name])]
    words += [flag for name, flag in _FLAGS.items() if options.get(name)]
    for identity in options.get("vault_ids") or ():
        words += ["--vault-id", str(identity)]
    return words


def _given(extra: Sequence[Any]) -> list[tuple[str, str]]:
    """Return the extra variables of this run that the command needs."""
    found = []
    for text in map(str, extra):
        if text.startswith("{"):
            try:
                pairs = json.loads(text)
            except ValueError:
                continue
        else:
            try:
                pairs = dict(part.split("=", 1) for part in shlex.split(text) if "=" in part)
            except ValueError:
                continue
        if isinstance(pairs, Mapping):
            found += [(name, str(pairs[name])) for name in _VARIABLES if name in pairs]
    return found
