# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files that decide what this process does: used only where nobody less privileged can have written them.

The path is walked from the root, one name at a time, and each directory on it is looked at. What was looked at is what
is opened. Symbolic links are followed where root, or the user of this process, made them in such a directory.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
from contextlib import suppress

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError

_MOST_LINKS = 40


class DistrustedError(ScistreamError):
    """A file or a directory on its path can be written by somebody who must not decide."""


class UnfitError(ScistreamError):
    """It is no file, or too large a one."""


def read(path: str, most: int) -> bytes:
    """Return the content of a regular file.

    Args:
        path: Path of the file.
        most: Largest size in bytes.

    Raises:
        DistrustedError: Somebody else can write it.
        UnfitError: It is no regular file, or it is too large.
        OSError: It is not there, or cannot be read.
    """
    found = _walk(path)
    try:
        _require_file(os.fstat(found))
        with open(f"/proc/self/fd/{found}", "rb") as stream:
            content = stream.read(most + 1)
    finally:
        os.close(found)
    if len(content) > most:
        raise UnfitError(f"it is larger than {most} bytes")
    return content


def check(path: str) -> None:
    """Refuse a file or a directory that somebody else can write; what is not there yet is not refused.

    Raises:
        DistrustedError: Somebody else can write it, or could make it.
    """
    with suppress(FileNotFoundError):
        os.close(_walk(path))


def _walk(path: str) -> int:
    """Return a descriptor of what a path leads to, which has been looked at like all on the way."""
    names = os.path.join(os.getcwd(), path).split("/")[::-1]
    here = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    where = "/"
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
                    raise DistrustedError(f"{where} does not exist, and anyone can create it") from None
                raise
            info = os.fstat(there)
            if shared and not stat.S_ISDIR(info.st_mode):
                os.close(there)
                raise DistrustedError(f"{os.path.dirname(where)} is a directory in which everyone can create files")
            if stat.S_ISLNK(info.st_mode):
                os.close(there)
                links += 1
                if links > _MOST_LINKS:
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
    return here


def _check_owner_and_mode(where: str, info: os.stat_result) -> bool:
    """Refuse what others can write; returns whether it is a directory for everybody's files, such as /tmp.

    In such a directory nobody can replace what is root's: a directory there may be used, files there not.
    """
    _check_owner(where, info)
    if stat.S_ISDIR(info.st_mode) and info.st_mode & stat.S_ISVTX and info.st_mode & 0o022:
        return True
    if info.st_mode & stat.S_IWOTH:
        raise DistrustedError(f"{where} is writable by everyone (mode {stat.S_IMODE(info.st_mode):04o})")
    if info.st_mode & stat.S_IWGRP and not _is_private(where, info.st_gid):
        group = _name_of_group(info.st_gid)
        raise DistrustedError(f"{where} is writable by the group {group} (mode {stat.S_IMODE(info.st_mode):04o})")
    return False


def _check_owner(where: str, info: os.stat_result) -> None:
    if info.st_uid not in (0, os.geteuid()):
        raise DistrustedError(f"{where} belongs to {_name_of_user(info.st_uid)}")


def _require_file(info: os.stat_result) -> None:
    if not stat.S_ISREG(info.st_mode):
        kind = "a directory" if stat.S_ISDIR(info.st_mode) else "no regular file"
        raise UnfitError(f"it is {kind}")


def _is_private(where: str, gid: int) -> bool:
    """Tell whether nobody but root and this user is in a group, as in those that a system makes for each user."""
    with suppress(OSError):
        # With an access control list the mode shows what anyone of it may do.
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
