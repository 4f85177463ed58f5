# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Handling of one call in the backend, in a separate process."""

from __future__ import annotations

import os
import socket
import sys
import traceback
from contextlib import suppress
from typing import Any, Collection, Mapping

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.actions.drop import DROP
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.actions.hello import HELLO
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.actions.kind import Kind
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.actions.release import RELEASE
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.actions.request import REQUEST
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.actions.update import UPDATE
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.caller import Caller, find_user_of_root
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.gather import gather
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.perform import perform
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service import sockets
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.accounts import has_account
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.output import report
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.protocol import (
    Call,
    answer,
    read_request,
    refusal,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.shapes import INFO
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service_client import MAX_REQUEST
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service_protocol import (
    DENIED,
    INTERNAL,
    OTHER_CONFIG,
    ServiceError,
)

KINDS: Mapping[str, Kind] = {kind.name: kind for kind in (REQUEST, HELLO, UPDATE, RELEASE, DROP)}
# Time limit in seconds for receiving the request from the frontend and sending the answer.
_SECONDS = 30.0


def handle(connection: socket.socket, config: str, user_socket: str, viewers: Collection[int]) -> None:
    """Receive a request from the frontend, carry it out, and answer.

    Args:
        connection: Connection of the frontend.
        config: Path of the policy.
        user_socket: Path of the socket for users.
        viewers: Users who may only view sessions.
    """
    connection.settimeout(_SECONDS)
    try:
        caller, data = _receive(connection, user_socket)
        call = read_request(data)
        result = _result(call, caller, config, viewers)
        line = log_line(call, caller, result)
        if line:
            report(line)
        content = answer(result)
    except ServiceError as error:
        content = refusal(error)
    except Exception:  # pylint: disable=broad-except
        traceback.print_exc(file=sys.stderr)
        content = refusal(ServiceError(INTERNAL, "the service failed: check journalctl -u scistream-s2csd"))
    # If this fails, the caller has disconnected.
    with suppress(OSError):
        connection.sendall(content)


def log_line(call: Call, caller: Caller, result: Mapping[str, Any]) -> str:
    """Return who did what, for the log, without values of options but the uid. Empty for calls that change nothing."""
    if call.action == INFO or call.check:
        return ""
    sessions = call.arguments["sessions"]
    which = f"{len(sessions)} sessions" if sessions is not None else ascii(call.arguments["uid"])
    outcome = "failed" if result.get("failed") else "changed" if result["changed"] else "unchanged"
    return f"{caller.name}: {call.action} of {which}: {outcome}"


def _receive(connection: socket.socket, user_socket: str) -> tuple[Caller, bytes]:
    """Return the user of the caller's connection, which the frontend passes along, and the request."""
    _data, passed = sockets.receive_descriptors(connection, 1)
    try:
        accepted = len(passed) == 1 and sockets.is_accepted(passed[0], user_socket)
        pid, uid = sockets.peer(passed[0]) if accepted else (0, -1)
    finally:
        for item in passed:
            item.close()
    # Read before anything is refused, because closing a connection with unread data would discard the answer.
    parts = []
    size = 0
    while size <= MAX_REQUEST:
        part = connection.recv(1 << 18)
        if not part:
            break
        parts.append(part)
        size += len(part)
    if not accepted:
        raise ServiceError(DENIED, "requests must be accompanied by the connection of the caller")
    # Subordinate users of user namespaces would each have limits of their own.
    if not has_account(uid):
        raise ServiceError(DENIED, f"user {uid} has no account on this gateway: do not call it in a user namespace")
    # Like a module, root acts on behalf of the user who logged in.
    return Caller(uid) if uid else find_user_of_root(str(pid)), b"".join(parts)


def _result(call: Call, caller: Caller, config: str, viewers: Collection[int]) -> dict[str, Any]:
    if call.config is not None and os.path.normpath(call.config) != os.path.normpath(config):
        raise ServiceError(
            OTHER_CONFIG, f"config: the service of this gateway uses {config}: omit the option, or specify that path"
        )
    if call.action == INFO:
        return gather(config, call.arguments)
    if caller.uid in viewers:
        raise ServiceError(DENIED, f"action: {caller.name} may only use info on this gateway")
    return perform(KINDS[call.action], config, call.arguments, call.check, caller)
