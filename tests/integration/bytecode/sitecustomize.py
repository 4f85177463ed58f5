# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Byte code of modules, kept from one run of them to the next on gateways that are on this machine.

Ansible sends a module in an archive, from which Python compiles all of it whenever it runs: more than half of what most
modules do. The code that runs is the same; what cannot be kept is compiled as ever.
"""

from __future__ import annotations

import _imp
import marshal
import os
import sys
import zipimport
from types import CodeType

_COMPILE = "_compile_source"
_compile = getattr(zipimport, _COMPILE, None)
_directory = os.environ.get("SCISTREAM_TEST_BYTECODE", "")


def _remembered(path: str, source: bytes) -> CodeType:
    key = _imp.source_hash(sys.hexversion, source).hex()
    kept = os.path.join(_directory, f"{os.path.basename(path)}-{key}")
    try:
        with open(kept, "rb") as file:
            code: CodeType = marshal.load(file)
        # Tracebacks name the file that there is now.
        _imp._fix_co_filename(code, path)  # type: ignore[attr-defined]
        return code
    except OSError:
        pass
    assert _compile is not None
    code = _compile(path, source)
    new = f"{kept}.{os.getpid()}"
    try:
        with open(new, "wb") as file:
            marshal.dump(code, file)
        os.replace(new, kept)
    except OSError:
        # Another user's module, or the end of the tests.
        pass
    return code


if _compile is not None and _directory:
    setattr(zipimport, _COMPILE, _remembered)
