# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The administrator's settings for containers, in addition to those of the proxy."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any, Mapping

from ansible_collections.scistream.gateway.plugins.module_utils._common.capabilities import PROXIES
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ValueRefused
from ansible_collections.scistream.gateway.plugins.module_utils._common.values import check_choice, check_number

DEFAULT_ENGINE = "unix:///var/run/docker.sock"
PULLS = ("never", "missing")

_ENGINE = re.compile(
    r"unix:///[A-Za-z0-9/._+-]+|(?:tcp|ssh)://(?:[A-Za-z0-9._-]+@)?(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?",
    re.ASCII,
)
_IMAGE = re.compile(r"[a-z0-9][A-Za-z0-9._/:-]{0,250}(?:@sha256:[0-9a-f]{64})?", re.ASCII)
_NUMBERS = {
    "memory": (64, 1 << 20),
    "pids": (16, 1 << 20),
    "nofile": (256, 1 << 20),
    "run_size": (1, 1 << 14),
    "log_size": (1, 1 << 10),
    "log_files": (1, 100),
    "container_user": (1, (1 << 31) - 1),
}


@dataclass(frozen=True)
class ContainerSettings:
    """How and where containers are created.

    Args:
        image: Image with a tag or digest. If empty, the proxy has no default image.
        helper_image: Image with Python, for observing containers whose files and processes are not visible here.
        pull: Whether to pull missing images: ``never`` or ``missing``.
        engine: Address of the Docker engine.
        memory: Memory limit in MiB.
        pids: Maximum number of processes and threads. If None, 512, or more if the program needs them.
        nofile: Maximum number of open files. If None, as many as ``max_connections`` requires.
        run_size: Size in MiB of the file system for the files that the program writes.
        log_size: Size in MiB at which a log is rotated.
        log_files: Maximum number of logs.
        container_user: UID and GID. If None, those of the proxy's user, if it exists.
    """

    image: str = ""
    # The image of the forwarder contains Python.
    helper_image: str = PROXIES["s2ds"].image
    pull: str = "never"
    engine: str = DEFAULT_ENGINE
    memory: int = 2048
    pids: int | None = None
    nofile: int | None = None
    run_size: int = 64
    log_size: int = 1
    log_files: int = 3
    container_user: int | None = None


def split(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings of the proxy itself, and those of its containers."""
    names = [item.name for item in fields(ContainerSettings)]
    own = {name: value for name, value in settings.items() if name not in names}
    return own, {name: value for name, value in settings.items() if name in names}


def read(option: str, image: str, given: Mapping[str, Any]) -> ContainerSettings:
    """Check settings of containers.

    Args:
        option: Name of the option, for messages.
        image: Default image of the proxy. Empty if there is none.
        given: The given settings.

    Raises:
        ValueRefused: A setting is invalid.
    """
    values = {**({"image": image} if image else {}), **given}
    for name in ("image", "helper_image"):
        if name in values and not (isinstance(values[name], str) and _IMAGE.fullmatch(values[name])):
            raise ValueRefused(f"{option}.{name}", values[name], "must be the name of an image with a tag or a digest")
    if "engine" in values and not (isinstance(values["engine"], str) and _ENGINE.fullmatch(values["engine"])):
        raise ValueRefused(
            f"{option}.engine", values["engine"], "must be unix:///path, tcp://host:port or ssh://user@host[:port]"
        )
    if "pull" in values:
        check_choice(f"{option}.pull", values["pull"], PULLS)
    for name, (low, high) in _NUMBERS.items():
        if values.get(name) is not None:
            check_number(f"{option}.{name}", values[name], low, high)
        else:
            values.pop(name, None)
    return ContainerSettings(**values)
