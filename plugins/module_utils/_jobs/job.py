# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A batch job, and why its nodes cannot be used."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import Network
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, ValueRefused, show

PENDING, FINISHED, UNKNOWN, FOREIGN, FAILED = "pending", "finished", "unknown", "foreign", "failed"
MAX_NODES = 1024
_SLURM_JOB = re.compile(r"[1-9][0-9]{0,9}(?:_[0-9]{1,9}|\+[0-9]{1,5})?", re.ASCII)
_OTHER_JOB = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._@\[\]+-]{0,98}[A-Za-z0-9\]])?", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._:-]{0,252}[A-Za-z0-9])?", re.ASCII)


class JobError(ScistreamError):
    """The nodes of a job cannot be used.

    Attributes:
        state: Why: one of the constants of this module.
    """

    def __init__(self, state: str, message: str) -> None:
        super().__init__(message)
        self.state = state


@dataclass(frozen=True)
class Node:
    """A node of a job.

    Attributes:
        name: Its name.
        address: Its IP address, as seen from the host that was asked.
    """

    name: str
    address: str


def check_slurm_job(option: str, value: object) -> str:
    """Validate the number of a Slurm job, of a task of a job array, or of a component of a heterogeneous job."""
    if isinstance(value, bool) or not isinstance(value, (str, int)) or not _SLURM_JOB.fullmatch(str(value)):
        raise ValueRefused(option, value, "must be the number of a job, such as 4711 or 4711_1")
    return str(value)


def check_job(option: str, value: object) -> str:
    """Validate the name of a job of another batch system."""
    if isinstance(value, bool) or not isinstance(value, (str, int)) or not _OTHER_JOB.fullmatch(str(value)):
        raise ValueRefused(
            option, value, "must be letters, digits, dots, dashes, underscores, @, +, [ and ], such as 4711.pbs1"
        )
    return str(value)


def resolve(nodes: Sequence[tuple[str, str]], networks: Sequence[Network]) -> list[Node]:
    """Return the nodes with their IP addresses.

    Args:
        nodes: Names of the nodes, each with its address or the name of its address.
        networks: Networks in which the addresses must be. If empty, the first address of each node is used.

    Raises:
        JobError: There are no or too many nodes, or a node has no suitable address.
    """
    if not nodes:
        raise JobError(FAILED, "the batch system names no nodes")
    if len(nodes) > MAX_NODES:
        raise JobError(FAILED, f"it has {len(nodes)} nodes, but at most {MAX_NODES} can be used")
    return [Node(name, _address(name, where, networks)) for name, where in nodes]


def _address(name: str, where: str, networks: Sequence[Network]) -> str:
    if not _HOST.fullmatch(where):
        raise JobError(FAILED, f"the batch system names the node {show(where[:100])}, which is not a host name")
    try:
        found = [where] if _is_address(where) else _lookup(where)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise JobError(FAILED, f"{where}, the address of node {name}, cannot be resolved on this host: {why}") from None
    for text in found:
        if not networks or any(ip_address(text) in network for network in networks):
            return text
    allowed = ", ".join(map(str, networks))
    raise JobError(FAILED, f"node {name} has no address in {allowed}, but: {', '.join(found[:8]) or 'none'}")


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _lookup(name: str) -> list[str]:
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    # Scopes of link-local addresses only have a meaning on this host.
    return [text for text in dict.fromkeys(str(item[4][0]) for item in found) if "%" not in text]
