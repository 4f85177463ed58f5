# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The directories of a gateway that root may use: not writable by others, like the programs that root starts there."""

from __future__ import annotations

import os
from typing import Mapping, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds import trusted
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.layout import Layout
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.trusted import DistrustedError

# What root starts, and what these load; the role s2cs installs them.
PROGRAMS = ("supervise.py", "isolate.py", "records.py")


def check(site: Layout, starts: bool = True) -> None:
    """Refuse a site in which root would keep or start something that others can write.

    Args:
        site: The site.
        starts: Whether its programs are used.

    Raises:
        S2DSException: There is such a place, or no directory; it names the option.
    """
    if os.path.lexists(site.state_dir) and not os.path.isdir(site.state_dir):
        raise S2DSException(f"state_dir: {site.state_dir} is not a directory")
    # Where nothing is kept, the state directory is one of this call alone.
    kept = {} if site.identity else {"state_dir": [site.state_dir]}
    problems = distrusted({**kept, **({"program_dir": programs(site)} if starts else {})})
    if problems:
        raise S2DSException("; ".join(problems))


def programs(site: Layout) -> list[str]:
    """Return the programs of a site, and all that is beside or below them and may be loaded."""
    return [*map(site.program, PROGRAMS), *below(site.program("s2ds"))]


def below(directory: str) -> list[str]:
    """Return a directory and what is in it, however deep."""
    found = [directory]
    for place, directories, files in os.walk(directory):
        found += [os.path.join(place, name) for name in (*directories, *files)]
    return found


def distrusted(paths: Mapping[str, Sequence[str]]) -> list[str]:
    """Return what is wrong with files and directories that root is to use, by the names of options: one for each."""
    if os.geteuid() != 0:
        return []
    found = []
    for key, items in paths.items():
        for path in items:
            try:
                trusted.check(path)
            except DistrustedError as error:
                found.append(f"{key}: {error}; it must be owned by root and not be writable by others")
                break
            except OSError as error:
                found.append(f"{key}: {path}: {error.strerror}")
                break
    return found
