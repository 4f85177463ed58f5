# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Validates and writes a policy file that only root, or the user who runs the module, can change."""

from __future__ import annotations

import grp
import json
import os
import stat
from contextlib import suppress
from typing import Any, Callable, Mapping, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.capabilities import PROXIES, RUNTIMES
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, show
from ansible_collections.scistream.gateway.plugins.module_utils._common.values import truth, whole_number
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs import policy_file
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import PolicyError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.policy import Policy
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.policy_keys import LOWEST_PORT, parse
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds import files, trusted_paths

_MODE = 0o640


class InvalidPolicyError(PolicyError):
    """The policy is invalid and was not written.

    Args:
        problems: Its errors.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(f"policy: {policy_file.join_problems(problems)}")
        self.problems = list(problems)


def validate(config: str, given: Mapping[str, Any]) -> tuple[Policy, str]:
    """Validate a policy.

    Args:
        config: Path of the file.
        given: The policy. Texts are converted to numbers, booleans or lists as required.

    Returns:
        The policy, and the text of its file.

    Raises:
        InvalidPolicyError: The policy has errors.
    """
    document = {key: _CONVERSIONS[key](value) if key in _CONVERSIONS else value for key, value in given.items()}
    try:
        policy = parse(config, document)
    except ScistreamError as error:
        raise InvalidPolicyError([str(error)]) from None
    problems = [*policy.problems, *_missing(policy), *policy_file.untrusted_files(policy)]
    with suppress(OSError):
        try:
            trusted_paths.check(os.path.dirname(config))
        except ScistreamError as error:
            problems.append(
                f"config: {error}; all directories in its path must be owned by root or by the user who runs the module"
            )
    if problems:
        raise InvalidPolicyError(problems)
    document["proxies"] = {name: dict(item) for name, item in policy.proxies.items()}
    return policy, json.dumps(document, indent=4) + "\n"


def _missing(policy: Policy) -> list[str]:
    """Return what is missing or contradictory in a policy and would prevent all or some requests."""
    found = []
    if not policy.listen and "listen" not in policy.faulty:
        found.append(
            "listen has no address: specify the address on which this gateway listens for each role that it offers, "
            'such as {"producer": "192.0.2.1", "consumer": "10.1.0.1"}'
        )
    if policy.port_range[0] < LOWEST_PORT:
        found.append(f"port_range must be two ports, first and last, from {LOWEST_PORT} to 65535")
    for proxy in policy.proxies:
        for runtime in policy.runtimes(proxy):
            able = RUNTIMES[runtime].encryptions
            if not set(PROXIES[proxy].encryptions) & set(able):
                found.append(
                    f"proxies.{proxy}.runtimes: the proxy {proxy} cannot run in {runtime}, which supports encryption "
                    f"{' or '.join(able)} only; remove {runtime}"
                )
    offered = {runtime for proxy in policy.proxies for runtime in policy.runtimes(proxy)}
    if "janus" in offered and policy.layout.janus is None and "janus" not in policy.faulty:
        found.append(
            "janus must specify the URL of the controller and the node of the data servers, such as "
            '{"url": "https://janus.example.org:5000", "node": "dtn1"}'
        )
    return found


def read_current(config: str) -> str:
    """Return the text of the current file for comparison, or an empty text if there is none or it cannot be read."""
    try:
        return trusted_paths.read(config, policy_file.MAX_BYTES).decode("utf-8", "replace")
    except (ScistreamError, OSError):
        return ""


def needs_write(config: str, text: str, group: int) -> bool:
    """Tell whether the contents, the owner or the permissions of the file differ.

    Args:
        config: Path of the file.
        text: The text that it should have.
        group: The group that it should have.
    """
    try:
        info = os.lstat(config)
    except OSError:
        return True
    owned = (info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode)) == (os.geteuid(), group, _MODE)
    return not owned or not stat.S_ISREG(info.st_mode) or read_current(config) != text


def group_id(name: str | None) -> int:
    """Return the ID of a group, or of the group of this process if the name is None.

    Raises:
        PolicyError: The group does not exist.
    """
    if name is None:
        return os.getegid()
    try:
        return grp.getgrnam(name).gr_gid
    except (KeyError, ValueError):
        raise PolicyError(f"group: the group {show(name)} does not exist on this gateway") from None


def write(config: str, text: str, group: int) -> None:
    """Write or replace the file atomically.

    Args:
        config: Path of the file.
        text: Its text.
        group: ID of its group, which can read it.

    Raises:
        PolicyError: The directory does not exist.
    """
    directory, name = os.path.split(config)
    if not os.path.isdir(directory):
        raise PolicyError(
            f"config: the directory {directory} does not exist: create it, or run the role scistream.gateway.s2cs"
        )
    access = (os.geteuid(), group, _MODE)
    files.write(directory, {name: text}, access, access, ())


def _list(value: Any) -> Any:
    return [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value


def _lists(value: Any) -> Any:
    return {key: _list(item) for key, item in value.items()} if isinstance(value, dict) else value


def _numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _numbers(item) for key, item in value.items()}
    return [whole_number(item) for item in value] if isinstance(value, list) else whole_number(value)


def _proxies(value: Any) -> Any:
    """Return the proxies. A proxy without a value is available with its default settings."""
    if not isinstance(value, dict):
        return value
    return {name: _proxy(item) for name, item in value.items()}


def _proxy(value: Any) -> Any:
    if value is None:
        return {}
    if isinstance(value, dict):
        given = {key: item for key, item in value.items() if item is not None}
        return {key: _list(item) if key == "runtimes" else item for key, item in given.items()}
    return value


def _janus(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    conversions: dict[str, Callable[[Any], Any]] = {"timeout": whole_number, "verify": truth}
    return {key: conversions[key](item) if key in conversions else item for key, item in value.items()}


_CONVERSIONS: Mapping[str, Callable[[Any], Any]] = {
    "gateway": lambda value: str(value) if isinstance(value, int) and not isinstance(value, bool) else value,
    "port_range": lambda value: _numbers(_list(value)),
    "proxies": _proxies,
    "targets": _lists,
    "clients": _lists,
    "limits": _numbers,
    "encryption": _list,
    "administrators": _list,
    "hello_timeout": whole_number,
    "hello_timeout_max": whole_number,
    "dedicated_users": truth,
    "janus": _janus,
}
