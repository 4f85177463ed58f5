# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The reference of modules, filters and roles as HTML."""

from __future__ import annotations

from pathlib import Path

from layout import COLLECTION


def commands(source: Path, target: Path) -> list[list[str]]:
    """Return the commands that write it, with the collection from ANSIBLE_COLLECTIONS_PATH; a warning ends them."""
    source.mkdir(parents=True)
    name = ".".join(COLLECTION.parts[1:])
    collect = ["antsibull-docs", "collection", "--use-current", "--squash-hierarchy", "--fail-on-error"]
    # Labels of Ansible's own documentation are not here; the part "docs" checks those of the collection.
    settings = (f"project={name}", "extensions=sphinx_antsibull_ext", "suppress_warnings=ref.ref")
    render = ["sphinx-build", "-q", "-W", "-C", *(word for setting in settings for word in ("-D", setting))]
    return [[*collect, "--dest-dir", str(source), name], [*render, str(source), str(target)]]
