# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The policy file, a JSON file that the module ``s2cs_policy`` writes and every action reads."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from typing import Any, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, show
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import PolicyError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.policy import Policy
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.policy_keys import KEYS, parse
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds import trusted_paths
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.trusted_paths import (
    UnsuitableFileError,
    UntrustedPathError,
)

DEFAULT_CONFIG = "/etc/scistream/s2cs.json"

MAX_BYTES = 1 << 20
_MAX_DIGITS = 18
_MAX_PROBLEMS = 8
# Keys that are recovered from a file that is not valid JSON: where the sessions are, and how they are supervised.
_LOCATIONS = re.compile(
    r'"(state_dir|program_dir|template_dir|supervisor|dedicated_users)"\s*:\s*("[^"\\]{1,4096}"|true|false)'
)
_LAYOUT = {
    "state_dir": "var/lib/scistream",
    "program_dir": "usr/local/lib/scistream",
    "template_dir": "etc/scistream/templates",
}


class _UntrustedError(PolicyError):
    """The file cannot be trusted, so nothing is recovered from it."""


def load_policy(path: str, lenient: bool = False) -> Policy:
    """Read and check the policy file.

    Args:
        path: Path of the file.
        lenient: Whether to return an invalid policy that at least specifies where the sessions are. It can only be
            used for listing and releasing sessions. Its ``problems`` contain the errors.

    Raises:
        PolicyError: The file cannot be read or trusted, or the policy is invalid.
    """
    shown = path if path.isprintable() and len(path) <= 200 else show(path)
    text = ""
    try:
        text = _read(path, shown)
        policy = _parse(path, shown, text)
    except _UntrustedError:
        raise
    except PolicyError as error:
        salvaged = _salvage(path, text) if lenient else None
        if salvaged is None:
            raise
        return replace(salvaged, problems=(str(error),), faulty=KEYS)
    problems = [*policy.problems, *untrusted_files(policy)]
    if problems and not lenient:
        raise PolicyError(f"config: {shown}: {join_problems(problems)}")
    return replace(policy, problems=tuple(problems))


def join_problems(problems: Sequence[str]) -> str:
    """Join problems to a text of limited length."""
    more = len(problems) - _MAX_PROBLEMS
    return "; ".join(problems[:_MAX_PROBLEMS]) + (f"; and {more} more" if more > 0 else "")


def _read(path: str, shown: str) -> str:
    try:
        return trusted_paths.read(path, MAX_BYTES).decode("utf-8")
    except FileNotFoundError:
        raise PolicyError(
            f"config: the policy file {shown} does not exist: run the role scistream.gateway.s2cs on this gateway, "
            "or set the option config to another file"
        ) from None
    except UntrustedPathError as error:
        whose = "root" if os.geteuid() == 0 else "root or the user who runs the module"
        raise _UntrustedError(
            f"config: the policy file {shown} cannot be trusted: {error}; it and the directories on its path must "
            f"belong to {whose}, and must not be writable by others"
        ) from None
    except UnsuitableFileError as error:
        raise _UntrustedError(f"config: the policy file {shown} cannot be read: {error}") from None
    except (OSError, ValueError) as error:
        raise PolicyError(f"config: the policy file {shown} cannot be read: {_error_text(error)}") from None


def _error_text(error: Exception) -> str:
    if isinstance(error, PermissionError):
        return "permission denied; run the task as the user of this control server (become: true)"
    return error.strerror or "it is not a file" if isinstance(error, OSError) else str(error)


def _parse(path: str, shown: str, text: str) -> Policy:
    try:
        document = json.loads(text, object_pairs_hook=_unique_keys, parse_int=_integer, parse_constant=_refuse_constant)
        return parse(path, document)
    except RecursionError:
        raise PolicyError(f"config: the policy file {shown} is nested too deeply") from None
    except ValueError as error:
        raise PolicyError(f"config: the policy file {shown} cannot be read: it is not valid JSON: {error}") from None
    except ScistreamError as error:
        raise PolicyError(f"config: {shown}: {error}") from None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _value in pairs]
        raise PolicyError(f"{show(next(name for name in names if names.count(name) > 1))} is given twice")
    return found


def _integer(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise PolicyError(f"a number has more than {_MAX_DIGITS} digits")
    return int(text)


def _refuse_constant(text: str) -> Any:
    raise PolicyError(f"{text} is not a number")


def _salvage(path: str, text: str) -> Policy | None:
    """Return a policy that offers nothing, with the location of the sessions recovered from an invalid file."""
    document: dict[str, Any] = {key: json.loads(value) for key, value in _LOCATIONS.findall(text)}
    if path.endswith(DEFAULT_CONFIG) and "state_dir" not in document:
        prefix = path[: -len(DEFAULT_CONFIG)]
        document = {**{key: f"{prefix}/{place}" for key, place in _LAYOUT.items()}, **document}
    if not os.path.isdir(str(document.get("state_dir", ""))):
        return None
    try:
        trusted_paths.check(document["state_dir"])
        return parse(path, document)
    except (ScistreamError, OSError):
        return None


def untrusted_files(policy: Policy) -> list[str]:
    """Return problems with files that root would read or execute for this policy, but that others can write."""
    layout = policy.layout
    paths = {
        "state_dir": [layout.state_dir],
        "program_dir": trusted_paths.programs(layout),
        "template_dir": trusted_paths.below(layout.template_dir),
    }
    for name in policy.proxies:
        program = str(policy.settings(name).get("program", ""))
        if program.startswith("/"):
            paths[f"proxies.{name}.settings.program"] = [program]
    return trusted_paths.untrusted(paths)
