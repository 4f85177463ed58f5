# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Isolates a data server from others and from the gateway: its user, its rights, and the size of its directory `run`.

    python3 -I -S isolate.py prepare DIRECTORY       mount the directory `run` of a session, with its saved files
    python3 -I -S isolate.py save DIRECTORY          unmount it, and save its regular files below the mount point
    python3 -I -S isolate.py run DIRECTORY USER      become the user of the session and execute its command

The systemd units call it: `prepare` and `save` as root on the host, `run` as root in the sandbox of the unit.
supervise.py uses it as a library. The user of a session is the owner of its directory `run`. The command is in the file
`start`, to which only root can write. `limits.json` in the directory of this program limits the size of `run`.

It requires only the standard library of Python 3.8 or newer.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import signal
import stat
import struct
import sys
from contextlib import suppress

PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38
MS_NOSUID, MS_NODEV, MS_NOEXEC, MNT_DETACH = 2, 4, 8, 2
MS_REC, MS_SLAVE, CLONE_NEWNS = 0x4000, 0x80000, 0x20000
FALLOC_FL_KEEP_SIZE = 1
MOUNT_SETATTR, AT_FDCWD, AT_RECURSIVE, MOUNT_ATTR_RDONLY = 442, -100, 0x8000, 1
LIMITS = {"run_bytes": 64 << 20, "run_files": 1024}
# What is kept of `run` when a data server ends. Counters are small, and come first.
SAVED_BYTES = 16 << 20
COUNTERS = "counters.json"
# What a program of root's takes to become another user by itself, where sessions have no users: chown, dac_override,
# fowner, kill, setgid, setuid.
KEPT_BY_ROOT = {0, 1, 3, 5, 6, 7}
LIBC = ctypes.CDLL(None, use_errno=True)
LIMITS_FILE = os.path.join(os.path.dirname(os.path.realpath(__file__)), "limits.json")


def say(text: str) -> None:
    """Write a line to the log. Errors are ignored."""
    with suppress(OSError):
        os.write(2, f"isolate: {text}\n".encode("utf-8", "replace"))


def limits() -> dict[str, int]:
    """Return the limits for the directory `run` of a session."""
    try:
        with open(LIMITS_FILE, encoding="utf-8") as stream:
            found = json.loads(stream.read(4096))
        return {name: max(1, int(found.get(name, default))) for name, default in LIMITS.items()}
    except FileNotFoundError:
        return dict(LIMITS)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        say(f"{LIMITS_FILE} cannot be read, so the defaults apply: {error}")
        return dict(LIMITS)


def identity(directory: str, user: str) -> tuple[int, int, list[int]]:
    """Return the UID, the GID and the supplementary GIDs of a session: the owner of `run`, and who can reach it.

    A directory of root belongs to a session of an earlier version, which had no user of its own.
    """
    info = os.lstat(os.path.join(directory, "run"))
    uid, gid = info.st_uid, info.st_gid
    if not uid:
        import pwd

        entry = pwd.getpwnam(user)
        uid, gid = entry.pw_uid, entry.pw_gid
    parents = (os.path.dirname(directory), os.path.dirname(os.path.dirname(directory)))
    return uid, gid, sorted({os.stat(parent).st_gid for parent in parents} - {0, gid})


def drop_rights(as_user: tuple[int, int, list[int]] | None) -> None:
    """Permanently drop what a data server does not need: capabilities, privileged programs, core dumps."""
    # A sandbox may not allow this, but then it is 0.
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    kept = KEPT_BY_ROOT if not as_user and not os.geteuid() else ()
    for capability in range(64):
        if capability in kept:
            continue
        if LIBC.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0):
            break
    if as_user:
        uid, gid, groups = as_user
        os.setgroups(groups)
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    os.umask(0o077)


def seclude(directory: str) -> bool:
    """Make everything but the directory `run` read-only for this process, if the kernel supports it (5.12)."""
    if LIBC.unshare(CLONE_NEWNS) or LIBC.mount(None, b"/", None, MS_REC | MS_SLAVE, None):
        return False
    run_only = os.fsencode(os.path.join(directory, "run"))
    for path, flags, added, taken in ((b"/", AT_RECURSIVE, MOUNT_ATTR_RDONLY, 0), (run_only, 0, 0, MOUNT_ATTR_RDONLY)):
        attributes = struct.pack("QQQQ", added, taken, 0, 0)
        if LIBC.syscall(MOUNT_SETATTR, AT_FDCWD, path, flags, attributes, ctypes.c_size_t(len(attributes))):
            return False
    return True


def is_mounted(directory: str) -> bool:
    """Return whether the directory `run` of a session is a mount point."""
    return os.path.ismount(os.path.join(directory, "run"))


def prepare(directory: str) -> bool:
    """Mount the directory `run`, unless it is mounted. Returns whether its size is limited."""
    if is_mounted(directory):
        return True
    path = os.path.join(directory, "run")
    info, limit = os.lstat(path), limits()
    if not stat.S_ISDIR(info.st_mode):
        raise OSError(f"{path} is not a directory")
    below = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        options = (
            f"size={limit['run_bytes']},nr_inodes={limit['run_files']},"
            f"mode={stat.S_IMODE(info.st_mode):o},uid={info.st_uid},gid={info.st_gid}"
        )
        if LIBC.mount(b"scistream", os.fsencode(path), b"tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, options.encode()):
            say(f"{path} cannot be mounted, so its size is not limited: {os.strerror(ctypes.get_errno())}")
            return False
        above = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            copy_files(below, above, limit["run_bytes"] // 2)
        finally:
            os.close(above)
        mark_inexact(below)
    finally:
        os.close(below)
    return True


def save(directory: str) -> None:
    """Unmount the directory `run`, and save its regular files below the mount point."""
    if not is_mounted(directory):
        return
    path = os.path.join(directory, "run")
    above = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if LIBC.umount2(os.fsencode(path), MNT_DETACH):
            raise OSError(ctypes.get_errno(), f"{path} cannot be unmounted")
        below = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            kept = copy_files(above, below, SAVED_BYTES)
            for name in set(os.listdir(below)) - kept:
                with suppress(OSError):
                    os.unlink(name, dir_fd=below)
        finally:
            os.close(below)
    finally:
        os.close(above)


def mark_inexact(saved: int) -> None:
    """Make the saved counters of s2ds lower bounds, because newer ones are lost in a power failure."""
    try:
        file = os.open(COUNTERS, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=saved)
    except OSError:
        return
    try:
        info = os.fstat(file)
        found = json.loads(os.pread(file, 4096, 0)) if stat.S_ISREG(info.st_mode) and info.st_nlink == 1 else None
        if isinstance(found, dict) and found.get("ended") is True:
            text = json.dumps({**found, "ended": False}).encode()
            os.ftruncate(file, os.pwrite(file, text, 0))
    except (OSError, ValueError, RecursionError):
        pass
    finally:
        os.close(file)


def copy_files(source: int, target: int, most: int) -> set[str]:
    """Copy the regular files of a directory, the smallest first. Returns the names of the existing files.

    Args:
        source: Descriptor of the directory.
        target: Descriptor of the target directory.
        most: Maximum number of bytes.
    """
    found: list[tuple[int, str]] = []
    for name in os.listdir(source):
        info = os.stat(name, dir_fd=source, follow_symlinks=False)
        if stat.S_ISREG(info.st_mode) and info.st_nlink == 1:
            found.append((info.st_blocks * 512, name))
    kept: set[str] = set()
    for size, name in sorted(found):
        if size > most:
            say(f"{name} is not kept because it is too large ({size} bytes)")
            continue
        try:
            copy_file(source, target, name)
            most -= size
        except OSError as error:
            # A previously saved version is better than nothing.
            say(f"{name} is not kept: {error.strerror}")
        kept.add(name)
    return kept


def copy_file(source: int, target: int, name: str) -> None:
    """Copy a file completely or not at all, including its holes, so that offsets remain valid."""
    temporary = ".copy"
    with suppress(FileNotFoundError):
        os.unlink(temporary, dir_fd=target)
    reading = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=source)
    try:
        info = os.fstat(reading)
        if not stat.S_ISREG(info.st_mode) or info.st_nlink != 1:
            raise OSError(errno.EINVAL, "it is no longer a regular file")
        writing = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=target)
        try:
            os.ftruncate(writing, info.st_size)
            copy_data(reading, writing)
            # Keep space that is reserved behind the end.
            reserved = (info.st_blocks - os.fstat(writing).st_blocks) * 512
            if reserved > 0:
                LIBC.fallocate(writing, FALLOC_FL_KEEP_SIZE, ctypes.c_int64(info.st_size), ctypes.c_int64(reserved))
            os.fchown(writing, info.st_uid, info.st_gid)
            os.fchmod(writing, stat.S_IMODE(info.st_mode) & 0o777)
            os.rename(temporary, name, src_dir_fd=target, dst_dir_fd=target)
        except OSError:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=target)
            raise
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def copy_data(reading: int, writing: int) -> None:
    """Copy the data of a file without its holes."""
    at = 0
    while True:
        try:
            at = os.lseek(reading, at, os.SEEK_DATA)
        except OSError:
            return
        end = os.lseek(reading, at, os.SEEK_HOLE)
        while at < end:
            part = os.pread(reading, min(1 << 20, end - at), at)
            if not part:
                return
            while part:
                written = os.pwrite(writing, part, at)
                part, at = part[written:], at + written


def run(directory: str, user: str) -> None:
    """Become the user of the session, and execute the command in its file `start`."""
    with open(os.path.join(directory, "start"), encoding="utf-8") as stream:
        command: list[str] = json.load(stream)["command"]
    who = identity(directory, user)
    log_as(user, who[0])
    drop_rights(who)
    os.execv(command[0], command)


def log_as(user: str, uid: int) -> None:
    """Send all output through a process of the proxy's own user.

    The journal has a file for each regular user, and the users of sessions are temporary.
    """
    import pwd

    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        return
    if entry.pw_uid == uid:
        return
    reading, writing = os.pipe()
    if not os.fork():
        try:
            # It ends when the last writing process ends.
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
                signal.signal(number, signal.SIG_IGN)
            os.dup2(reading, 0)
            os.chdir("/")
            drop_rights((entry.pw_uid, entry.pw_gid, []))
            os.execv("/bin/cat", ["cat"])
        finally:
            os._exit(127)
    os.dup2(writing, 1)
    os.dup2(writing, 2)


def main(arguments: list[str]) -> int:
    """Execute the action of the command line."""
    what, rest = arguments[:1], arguments[1:]
    try:
        if what == ["prepare"] and len(rest) == 1:
            prepare(rest[0])
        elif what == ["save"] and len(rest) == 1:
            save(rest[0])
        elif what == ["run"] and len(rest) == 2:
            run(*rest)
        else:
            sys.stderr.write("usage: isolate.py prepare DIRECTORY | save DIRECTORY | run DIRECTORY USER\n")
            return 2
    except (OSError, ValueError, KeyError, TypeError) as error:
        say(f"{' '.join(arguments)}: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
