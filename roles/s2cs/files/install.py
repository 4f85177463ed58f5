# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes all files of a program in one step, because a task for each file would take a connection for each file.

Reads `{"directory": "/...", "files": {"name.py": "text"}, "exclusive": true, "check": false}` from standard input, and
writes the names of what it changed, or with `check` would change, to standard output as a JSON list. With `exclusive`,
other modules in the directory are removed. Unprivileged users cannot keep the bytecode of what they run, so it is
compiled here.
"""

from __future__ import annotations

import json
import os
import py_compile
import stat
import sys

MODE = 0o644


def is_right(path: str, text: str) -> bool:
    """Return whether a file has this text, and only this user can change it."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(found.st_mode) or stat.S_IMODE(found.st_mode) != MODE or found.st_uid != os.geteuid():
        return False
    with open(path, "rb") as stream:
        return stream.read() == text.encode()


def differences(directory: str, files: dict[str, str], exclusive: bool) -> list[str]:
    """Return the names of the files that are missing, different or not part of the program."""
    wrong = [name for name, text in files.items() if not is_right(os.path.join(directory, name), text)]
    present = os.listdir(directory) if exclusive and os.path.isdir(directory) else []
    return sorted(wrong + [name for name in present if name.endswith(".py") and name not in files])


def replace(path: str, text: str) -> None:
    """Replace a file as a whole, so that a program that starts now finds the old one or the new one."""
    with open(path + ".new", "w", encoding="utf-8") as stream:
        stream.write(text)
        os.fchmod(stream.fileno(), MODE)
    os.rename(path + ".new", path)
    if path.endswith(".py"):
        py_compile.compile(path, doraise=True)


def main() -> None:
    """Do what standard input asks for."""
    order = json.load(sys.stdin)
    directory, files = order["directory"], order["files"]
    changed = differences(directory, files, order["exclusive"])
    if changed and not order["check"]:
        os.umask(0o022)
        os.makedirs(directory, exist_ok=True)
        for name in changed:
            path = os.path.join(directory, name)
            if name in files:
                replace(path, files[name])
            else:
                os.unlink(path)
    json.dump(changed, sys.stdout)


if __name__ == "__main__":
    main()
