# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run leaves on the machine: a picture of it before, another one after, and what they differ in.

Processes are not in it: they are told apart by who started them (see offspring.py).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Dict, Iterator

Picture = Dict[str, Dict[str, str]]

_DOCKER = "Docker "

# Looked at whole. What others keep there changes by itself: databases of packages, engines, the system's own services.
_TREES = ("/etc", "/usr/local", "/var/lib", "/run/systemd/system", "/run/systemd/transient")
_FOREIGN = re.compile(
    r"/var/lib/(?:apt|chrony|containerd|dhcp|docker|dpkg|logrotate|man-db|NetworkManager|nginx|ntp|pam|polkit-1"
    r"|postgresql|sudo|systemd/(?!linger)[^/]+|ucf|update-notifier)(?:/|$)"
    # The files of accounts are compared as accounts; the tools that edit them keep the last version.
    r"|/etc/(?:passwd|group|shadow|gshadow|subuid|subgid)-?$|/etc/(?:\.pwd\.lock|ld\.so\.cache|mtab|docker/key\.json)$"
    r"|/etc/docker$|.*/__pycache__(?:/|$)"
)
_HOME = (".config", ".docker", ".local/share", ".ssh")
_SCRATCH = ("/tmp/scistream*", "/run/scistream*", "/var/tmp/scistream*", "/run/user/*/scistream*")
_ENGINE = re.compile(r"(?:/var)?/run/docker(?:/|$)|/var/lib/(?:docker|containerd)(?:/|$)|docker0$")


def picture() -> Picture:
    """Look at the machine; what this user may not see is left out."""
    return {
        "account": dict(_accounts()),
        "file": dict(_files()),
        "mount": dict(_mounts()),
        "network interface or address": dict(_network()),
        **{f"{_DOCKER}{kind}": dict(_docker(kind)) for kind in ("container", "network", "volume")},
    }


def differences(before: Picture, after: Picture, since: datetime) -> list[str]:
    """Name what is new, gone or another one.

    Args:
        before: The first picture.
        after: The second one.
        since: When the first one was taken. What an engine that did not run then has had for longer is not new.
    """
    found = []
    for kind, then in before.items():
        now = after[kind]
        if kind.startswith(_DOCKER):
            now = {name: made for name, made in now.items() if name in then or _moment(made) >= since}
        found += [f"left behind: {kind} {name}" for name in sorted(now.keys() - then.keys())]
        found += [f"gone: {kind} {name}" for name in sorted(then.keys() - now.keys())]
        found += [f"changed: {kind} {name}" for name in sorted(then.keys() & now.keys()) if then[name] != now[name]]
    return found


class Presence:
    """Mark this machine as one where a run is at work: two at once cannot tell who left something."""

    def __init__(self) -> None:
        path = Path(tempfile.gettempdir(), f"scistream-gateway-runs-{os.geteuid()}.lock")
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def alone(self) -> bool:
        """Whether no other run is at work; either way this one counts as one from now on."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            fcntl.flock(self._file, fcntl.LOCK_SH)
        return True


def _accounts() -> Iterator[tuple[str, str]]:
    for database in ("passwd", "group", "subuid", "subgid"):
        with contextlib.suppress(OSError):
            for line in Path("/etc", database).read_text(encoding="utf-8").splitlines():
                yield f"{line.partition(':')[0]} in /etc/{database}", line


def _files() -> Iterator[tuple[str, str]]:
    trees = [*_TREES, *(str(Path.home() / name) for name in _HOME)]
    for tree in trees:
        for directory, inner, names in os.walk(tree):
            inner[:] = [name for name in inner if not _FOREIGN.match(os.path.join(directory, name))]
            for name in [*inner, *names]:
                path = os.path.join(directory, name)
                if not _FOREIGN.match(path):
                    yield path, _state(path)
    for pattern in _SCRATCH:
        root, _slash, rest = pattern[1:].partition("/")
        for found in Path("/", root).glob(rest):
            if not found.name.startswith("scistream-gateway-runs-"):
                yield str(found), ""


def _state(path: str) -> str:
    """What is compared: rights and content where somebody configures, the name alone where services keep data."""
    try:
        status = os.lstat(path)
        rights = f"{status.st_mode:o} {status.st_uid} {status.st_gid}"
        if not path.startswith("/etc/"):
            return "" if path.startswith("/var/lib/") else rights
        if os.path.islink(path):
            return os.readlink(path)
        if os.path.isfile(path) and status.st_size < 1 << 20:
            return f"{rights} {hashlib.sha256(Path(path).read_bytes()).hexdigest()}"
    except OSError:
        return ""
    return rights


def _mounts() -> Iterator[tuple[str, str]]:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
            place = line.split()[4]
            if not _ENGINE.match(place):
                yield place, ""


def _network() -> Iterator[tuple[str, str]]:
    """Interfaces with their addresses, and network namespaces with names."""
    for namespace in _lines("ip", "netns", "list"):
        yield f"namespace {namespace.split()[0]}", ""
    for line in _lines("ip", "-o", "address", "show"):
        _number, interface, *words = line.split()
        # Interfaces have link-local addresses by themselves.
        if not (_ENGINE.match(interface) or words[1].startswith("fe80:")):
            yield f"{interface} {' '.join(words[:2])}", ""
    for line in _lines("ip", "-o", "link", "show"):
        interface = line.split()[1].split("@")[0].rstrip(":")
        if not _ENGINE.match(interface):
            yield interface, ""


def _docker(kind: str) -> Iterator[tuple[str, str]]:
    """Names, each with when it was made."""
    everything = ["--all"] if kind == "container" else []
    names = _lines("docker", kind, "ls", "--quiet", *everything)
    own = ("bridge", "host", "none") if kind == "network" else ()
    made = "{{json .CreatedAt}}" if kind == "volume" else "{{json .Created}}"
    for line in _lines("docker", kind, "inspect", "--format", f"{made} {{{{.Name}}}}", *names) if names else []:
        moment, _space, name = line.partition(" ")
        # The engine's own networks are made anew whenever it starts.
        if name not in own:
            yield name.lstrip("/"), moment.strip('"')


def _moment(text: str) -> datetime:
    """Read a time as Docker writes it, to the second; the fraction has any number of digits."""
    moment = datetime.fromisoformat(re.sub(r"\.[0-9]+", "", text).replace("Z", "+00:00"))
    return moment if moment.tzinfo else moment.astimezone()


def _lines(*command: str) -> list[str]:
    """Return what a program prints; nothing where it is not there or fails."""
    if shutil.which(command[0]) is None:
        return []
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False
    )
    return [line for line in done.stdout.splitlines() if line.strip()]
