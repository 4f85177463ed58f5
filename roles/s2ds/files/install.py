# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes all files of a program in one step: a task for each file would take a connection for each file.

Reads `{"directory": "/...", "files": {"name.py": "text"}, "check": false}` from standard input and writes the names of
what it changed, or with `check` would change, to standard output as a JSON list. Modules that the program no longer
has are removed. What an unprivileged user runs cannot keep its own byte code, so that is made here.
"""

from __future__ import annotations

import json
import os
import py_compile
import sys


def read(path: str) -> str:
    """Return the text of a file, or an empty one where there is none."""
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read()
    except FileNotFoundError:
        return ""


def differences(directory: str, files: dict[str, str]) -> list[str]:
    """Return the names of the files that are missing, different or too many."""
    present = [name for name in os.listdir(directory) if name.endswith(".py")] if os.path.isdir(directory) else []
    wrong = [name for name, text in files.items() if name not in present or read(os.path.join(directory, name)) != text]
    return sorted(wrong + [name for name in present if name not in files])


def replace(path: str, text: str) -> None:
    """Replace a file as a whole, so that a program that starts now finds the old one or the new one."""
    with open(path + ".new", "w", encoding="utf-8") as stream:
        stream.write(text)
        os.fchmod(stream.fileno(), 0o644)
    os.rename(path + ".new", path)
    py_compile.compile(path, doraise=True)


def main() -> None:
    """Do what standard input asks for."""
    order = json.load(sys.stdin)
    directory, files = order["directory"], order["files"]
    changed = differences(directory, files)
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
