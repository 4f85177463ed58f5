# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files and directories that decide what this process does: used only if nobody less privileged can write to them.

The path is walked from the root, one component at a time, and every directory on it is checked. What was checked is
what is opened. Symbolic links are followed if root, or the user of this process, created them in such a directory.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
from contextlib import closing, suppress
from typing import Mapping, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException, ScistreamError
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.layout import Layout

_MAX_LINKS = 40


class UntrustedPathError(ScistreamError):
    """A less privileged user can write to a file, or to a directory on its path."""


class UnsuitableFileError(ScistreamError):
    """A path does not lead to a regular file, or the file is too large."""


def read(path: str, limit: int) -> bytes:
    """Return the content of a regular file.

    Args:
        path: Path of the file.
        limit: Maximum size in bytes.

    Raises:
        UntrustedPathError: Someone else can write to it.
        UnsuitableFileError: It is not a regular file, or it is too large.
        OSError: It does not exist, or cannot be read.
    """
    found, _where = _walk(path)
    try:
        _require_file(os.fstat(found))
        with open(f"/proc/self/fd/{found}", "rb") as stream:
            content = stream.read(limit + 1)
    finally:
        os.close(found)
    if len(content) > limit:
        raise UnsuitableFileError(f"it is larger than {limit} bytes")
    return content


def check(path: str) -> None:
    """Refuse a file or directory that someone else can write to. One that does not exist is accepted.

    Raises:
        UntrustedPathError: Someone else can write to it, or could create it.
    """
    with suppress(FileNotFoundError):
        os.close(_walk(path)[0])


def _walk(path: str, start: tuple[int, str] | None = None) -> tuple[int, str]:
    """Return a descriptor and the path of what a path leads to, after checking it and every directory on the way.

    Args:
        path: The path.
        start: What this returned for the directory from which a relative path starts. It has been checked up to there.
    """
    if start is None:
        here, where = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC), "/"
        path = os.path.join(os.getcwd(), path)
    else:
        here, where = os.dup(start[0]), start[1]
    names = path.split("/")[::-1]
    links = 0
    try:
        shared = _check_owner_and_mode(where, os.fstat(here))
        while names:
            name = names.pop()
            if name in ("", "."):
                continue
            where = os.path.normpath(os.path.join(where, name))
            try:
                there = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
            except FileNotFoundError:
                if shared:
                    raise UntrustedPathError(f"{where} does not exist, and anyone can create it") from None
                raise
            info = os.fstat(there)
            if shared and not stat.S_ISDIR(info.st_mode):
                os.close(there)
                raise UntrustedPathError(f"{os.path.dirname(where)} is a directory in which everyone can create files")
            if stat.S_ISLNK(info.st_mode):
                os.close(there)
                links += 1
                if links > _MAX_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                _check_owner(where, info)
                target = os.readlink(name, dir_fd=here)
                where = os.path.dirname(where)
                if target.startswith("/"):
                    os.close(here)
                    here, where = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC), "/"
                names += target.split("/")[::-1]
                continue
            os.close(here)
            here = there
            shared = _check_owner_and_mode(where, info)
    except BaseException:
        os.close(here)
        raise
    return here, where


class _Checked:
    """Checks many paths, and the directories that they have in common only once."""

    def __init__(self) -> None:
        # Their descriptors and paths, and whether they are shared.
        self._directories: dict[str, tuple[int, str, bool]] = {}

    def check(self, path: str) -> None:
        """Do what the function ``check`` does."""
        directory, name = os.path.split(path)
        with suppress(FileNotFoundError):
            if directory not in self._directories:
                here, where = _walk(directory)
                self._directories[directory] = here, where, _check_owner_and_mode(where, os.fstat(here))
            here, where, shared = self._directories[directory]
            if name not in ("", ".", "..") and not shared:
                # Most are files, for which this suffices.
                info = os.stat(name, dir_fd=here, follow_symlinks=False)
                if not stat.S_ISLNK(info.st_mode):
                    _check_owner_and_mode(os.path.join(where, name), info)
                    return
            os.close(_walk(name, (here, where))[0])

    def close(self) -> None:
        """Close the directories."""
        while self._directories:
            os.close(self._directories.popitem()[1][0])


def _check_owner_and_mode(where: str, info: os.stat_result) -> bool:
    """Refuse what others can write to; return whether it is a shared directory such as /tmp.

    Nobody can replace root's files in such a directory: directories in it may be used, files may not.
    """
    _check_owner(where, info)
    if stat.S_ISDIR(info.st_mode) and info.st_mode & stat.S_ISVTX and info.st_mode & 0o022:
        return True
    if info.st_mode & stat.S_IWOTH:
        raise UntrustedPathError(f"{where} is writable by everyone (mode {stat.S_IMODE(info.st_mode):04o})")
    if info.st_mode & stat.S_IWGRP and not _is_private(where, info.st_gid):
        group = _name_of_group(info.st_gid)
        raise UntrustedPathError(f"{where} is writable by the group {group} (mode {stat.S_IMODE(info.st_mode):04o})")
    return False


def _check_owner(where: str, info: os.stat_result) -> None:
    if info.st_uid not in (0, os.geteuid()):
        raise UntrustedPathError(f"{where} belongs to {_name_of_user(info.st_uid)}")


def _require_file(info: os.stat_result) -> None:
    if not stat.S_ISREG(info.st_mode):
        kind = "a directory" if stat.S_ISDIR(info.st_mode) else "no regular file"
        raise UnsuitableFileError(f"it is {kind}")


def _is_private(where: str, gid: int) -> bool:
    """Return whether only root and this user are in a group, such as the private group of a user."""
    with suppress(OSError):
        # With an access control list, the mode shows the permissions of all entries.
        os.getxattr(where, "system.posix_acl_access", follow_symlinks=False)
        return False
    own = {entry.pw_name for entry in map(_user, {0, os.geteuid()}) if entry}
    try:
        members = set(grp.getgrgid(gid).gr_mem)
    except KeyError:
        return False
    members.update(entry.pw_name for entry in pwd.getpwall() if entry.pw_gid == gid)
    return members <= own


def _user(uid: int) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        return None


def _name_of_user(uid: int) -> str:
    entry = _user(uid)
    return entry.pw_name if entry else str(uid)


def _name_of_group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


# What root starts, and what these programs load; the role s2cs installs them.
PROGRAMS = (
    *("supervise.py", "supervisor.py", "orders.py", "forwarder.py", "command_line.py", "isolate.py", "records.py"),
)


def check_layout(layout: Layout, starts: bool = True) -> None:
    """Refuse a layout in which root would store or start something that others can write to.

    Args:
        layout: The directories.
        starts: Whether the programs in them are used.

    Raises:
        S2DSException: Others can write to one, or the state directory is not a directory. It names the option.
    """
    if os.path.lexists(layout.state_dir) and not os.path.isdir(layout.state_dir):
        raise S2DSException(f"state_dir: {layout.state_dir} is not a directory")
    # With an identity in the layout, the state directory belongs to this call alone.
    stored = {} if layout.identity else {"state_dir": [layout.state_dir]}
    problems = untrusted({**stored, **({"program_dir": programs(layout)} if starts else {})})
    if problems:
        raise S2DSException("; ".join(problems))


def programs(layout: Layout) -> list[str]:
    """Return the programs of a layout, and everything next to or below them that they may load."""
    compiled = layout.program("__pycache__")
    found = below(compiled) if os.path.lexists(compiled) else []
    return [*map(layout.program, PROGRAMS), *found, *below(layout.program("s2ds"))]


def below(directory: str) -> list[str]:
    """Return a directory and everything below it."""
    paths = [directory]
    for parent, directories, files in os.walk(directory):
        paths += [os.path.join(parent, name) for name in (*directories, *files)]
    return paths


def untrusted(paths: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the problems of files and directories that root is to use, at most one for each option.

    Args:
        paths: Files and directories, by the names of options.
    """
    if os.geteuid() != 0:
        return []
    problems = []
    with closing(_Checked()) as checked:
        for option, items in paths.items():
            for path in items:
                try:
                    checked.check(path)
                except UntrustedPathError as error:
                    problems.append(f"{option}: {error}; it must be owned by root and not be writable by others")
                    break
                except OSError as error:
                    problems.append(f"{option}: {path}: {error.strerror}")
                    break
    return problems
