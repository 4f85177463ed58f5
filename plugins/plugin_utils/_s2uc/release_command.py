# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command that releases sessions, with the options of this run, ready to paste."""

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
    """Return the command that releases sessions, with the inventory and the connection options of this run."""
    options = context.CLIARGS if isinstance(context.CLIARGS, Mapping) else {}
    words = ["ansible-playbook"]
    for inventory in options.get("inventory") or ():
        words += ["-i", inventory]
    for name, option in _VALUES.items():
        if options.get(name) not in (None, "", *_DEFAULTS):
            words += [option, str(options[name])]
    words += [flag for name, flag in _FLAGS.items() if options.get(name)]
    for identity in options.get("vault_ids") or ():
        words += ["--vault-id", str(identity)]
    words.append("scistream.gateway.stream_release")
    for name, value in _given(options.get("extra_vars") or ()):
        words += ["-e", f"{name}={value}"]
    words += ["-e", f"uid={uids[0]}" if len(uids) == 1 else json.dumps({"uids": list(uids)})]
    return " ".join(shlex.quote(word) for word in words)


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
