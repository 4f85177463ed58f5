# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Jobs of other batch systems, by a command of the site that prints the addresses of their nodes."""

from __future__ import annotations

import os
from typing import Callable, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, ValueRefused
from ansible_collections.scistream.gateway.plugins.module_utils._jobs.job import (
    FAILED,
    MAX_NODES,
    PENDING,
    JobError,
)
from ansible_collections.scistream.gateway.plugins.module_utils._jobs.programs import Output

#: What the command contains in place of the job.
PLACEHOLDER = "{job}"
_MAX_NAME = 255


def check_command(option: str, value: object) -> list[str]:
    """Validate a command with a placeholder, and return it."""
    if not isinstance(value, (list, tuple)) or not value or not all(isinstance(word, str) for word in value):
        raise ValueRefused(option, value, "must be a list of a program and its arguments")
    words = [str(word) for word in value]
    if not os.path.isabs(words[0]) or PLACEHOLDER in words[0] or any("\0" in word for word in words):
        raise ValueRefused(option, value, "must begin with the absolute path of a program")
    if not any(PLACEHOLDER in word for word in words):
        raise ValueRefused(option, value, f"must contain {PLACEHOLDER}, which is replaced by the job")
    return words


def find_nodes(job: str, command: Sequence[str], run: Callable[[Sequence[str]], Output]) -> list[tuple[str, str]]:
    """Return the nodes that a command prints, one name or address in each line.

    Args:
        job: Name of the job.
        command: The command with a placeholder.
        run: Runs a program.

    Raises:
        JobError: The job is not running.
        ScistreamError: The command cannot be run.
    """
    done = run([word.replace(PLACEHOLDER, job) for word in command])
    said = f": {done.error}" if done.error else ""
    if done.code == os.EX_TEMPFAIL:
        raise JobError(PENDING, f"it does not run yet{said}: wait until it runs, for example with -e wait_for_job=true")
    if done.code:
        raise JobError(FAILED, f"{command[0]} failed with exit code {done.code}{said}")
    lines = list(dict.fromkeys(line.strip() for line in done.text.splitlines() if line.strip()))[: MAX_NODES + 1]
    if any(len(line) > _MAX_NAME for line in lines):
        raise ScistreamError(f"{command[0]}: each line must be the name or the address of a node")
    return [(line, line) for line in lines]
