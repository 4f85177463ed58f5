# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The limits of containers, which depend on the connections that the program is to serve."""

from __future__ import annotations

from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker.settings import ContainerSettings
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import Task

_LEAST_FILES = 1024
_LEAST_TASKS = 512
_RUN_FILES = 1024


def open_files(settings: ContainerSettings, task: Task) -> int:
    """Return the limit of open files for each process."""
    return settings.nofile or max(_LEAST_FILES, task.open_files)


def tasks(settings: ContainerSettings, task: Task) -> int:
    """Return the limit of processes and threads."""
    return settings.pids or max(_LEAST_TASKS, task.most_tasks)


def check(settings: ContainerSettings, task: Task) -> None:
    """Refuse limits that are too low for the connections that the program is to serve."""
    option = f"proxies.{task.proxy}.settings"
    if settings.nofile is not None and settings.nofile < task.open_files:
        raise S2DSException(
            f"{option}.nofile: {settings.nofile} open files are too few for max_connections, which need "
            f"{task.open_files}: increase nofile, omit it, or decrease max_connections"
        )
    if settings.pids is not None and settings.pids < 2 * task.tasks:
        raise S2DSException(
            f"{option}.pids: {settings.pids} processes and threads are too few: an UPDATE needs {2 * task.tasks}; "
            "increase pids, or omit it"
        )


def check_room(counted: tuple[int, int] | None, task: Task) -> None:
    """Refuse a reload that would exceed the limit of processes: previous ones still serve their last connections.

    Args:
        counted: Number of processes and threads, and their limit, or None if unknown.
        task: The program.
    """
    if counted is None or not counted[1]:
        return
    used, most = counted
    if used + task.tasks > most:
        raise S2DSException(
            f"the container of {task.name} has {used} of at most {most} processes and threads, and an UPDATE needs "
            f"{task.tasks} more, because processes of earlier configurations are kept until their connections end: "
            f"wait for that, or release the session and increase proxies.{task.proxy}.settings.pids"
        )


def host_options(settings: ContainerSettings, task: Task, run: str, user: int, group: int) -> dict[str, Any]:
    """Return the options that confine a container.

    Args:
        settings: The administrator's settings.
        task: The program.
        run: The only directory that the program can write to, a separate file system in memory.
        user: UID of the program.
        group: GID of the program.
    """
    size = settings.run_size << 20
    files = open_files(settings, task)
    return {
        "network_mode": "host",
        # If the engine maps users, only this gives containers the host's network and the actual owners of files.
        "userns_mode": "host",
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "mem_limit": settings.memory << 20,
        "memswap_limit": settings.memory << 20,
        "pids_limit": tasks(settings, task),
        # A core dump would contain the keys.
        "ulimits": [
            {"Name": "core", "Soft": 0, "Hard": 0},
            {"Name": "nofile", "Soft": files, "Hard": files},
            {"Name": "fsize", "Soft": size, "Hard": size},
        ],
        "tmpfs": {run: f"rw,noexec,nosuid,nodev,size={size},nr_inodes={_RUN_FILES},mode=0770,uid={user},gid={group}"},
        "log_config": {
            "Type": "json-file",
            "Config": {"max-size": f"{settings.log_size}m", "max-file": str(settings.log_files)},
        },
    }
