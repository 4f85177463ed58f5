# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts that end all processes of a user at logout (``KillUserProcesses=yes`` of systemd-logind).

On these hosts, data servers must run in the service manager of the user, which keeps running if lingering is enabled.
"""

from __future__ import annotations

import os
import pwd
import subprocess

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException

_LINGER = "/var/lib/systemd/linger"
_MANAGER = (
    "org.freedesktop.login1",
    "/org/freedesktop/login1",
    "org.freedesktop.login1.Manager",
    "KillUserProcesses",
)
_SECONDS = 10.0


def check() -> None:
    """Refuse to start a data server that would end when this user logs out.

    Raises:
        S2DSException: It says how to change that.
    """
    if not _ends_with_login():
        return
    name = _name()
    if not _lingers():
        raise S2DSException(
            f"this host stops all processes of {name} when {name} logs out (KillUserProcesses=yes in logind.conf), "
            f"including data servers: ask an administrator to run loginctl enable-linger {name}"
        )
    if not _is_there():
        raise S2DSException(
            f"the service manager of {name}, in which data servers outlive the login, is not running: see "
            f"systemctl status user@{os.geteuid()}.service"
        )


def scope(name: str) -> tuple[list[str], dict[str, str]]:
    """Return the prefix of a command that keeps running after the logout, and the environment that it requires.

    Args:
        name: Name of the data server.
    """
    if not _ends_with_login() or not _lingers() or not _is_there():
        return [], {}
    # An earlier scope of the same name may still be ending.
    unit = f"scistream-{name}-{os.urandom(4).hex()}"
    command = ["systemd-run", "--user", "--scope", "--quiet", "--collect", f"--unit={unit}", "--"]
    return command, {"XDG_RUNTIME_DIR": _runtime_directory()}


def _ends_with_login() -> bool:
    if os.geteuid() == 0 or not os.path.isdir("/run/systemd/system"):
        return False
    try:
        asked = subprocess.run(  # pylint: disable=ansible-bad-function
            ["busctl", "get-property", *_MANAGER], check=False, capture_output=True, text=True, timeout=_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return asked.stdout.split() == ["b", "true"]


def _lingers() -> bool:
    return os.path.exists(os.path.join(_LINGER, _name()))


def _runtime_directory() -> str:
    return f"/run/user/{os.geteuid()}"


def _is_there() -> bool:
    return os.path.exists(f"{_runtime_directory()}/systemd/private")


def _name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
