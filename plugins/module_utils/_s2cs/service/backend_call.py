# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Handling of one call in the backend, in a separate process."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import suppress
from functools import partial
from typing import Any, Mapping

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.action_runner import perform
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.actions.action_type import ActionType
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.actions.drop import DROP
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.actions.hello import HELLO
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.actions.probe import PROBE
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.actions.release import RELEASE
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.actions.request import REQUEST
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.actions.update import UPDATE
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.caller import Caller, find_user_of_root
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.info_result import gather
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service import sockets
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.accounts import NOBODY, has_account
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.argument_checks import INFO
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.output import report
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.wire_format import (
    Call,
    answer,
    carry_out,
    read_request,
    refusal,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service_client import MAX_REQUEST
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service_protocol import (
    BUSY,
    DENIED,
    INTERNAL,
    OTHER_CONFIG,
    ServiceError,
)

# Loaded before this process is forked for each call. Other proxies and runtimes are loaded when they are used.
# pylint: disable=unused-import
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.s2ds import NativeProxy  # noqa: F401
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.process import ProcessRuntime  # noqa: F401

# pylint: enable=unused-import

ACTION_TYPES: Mapping[str, ActionType] = {
    action_type.name: action_type for action_type in (REQUEST, HELLO, UPDATE, RELEASE, DROP, PROBE)
}
# Time limit in seconds for receiving the request from the frontend and sending the answer.
_SECONDS = 30.0


class Passed:
    """A call as the frontend passes it on.

    Args:
        connection: Connection of the frontend.
        caller: Connection of the caller with the frontend, or None if it did not pass one.

    Attributes:
        uid: The caller, or ``NOBODY``.
    """

    def __init__(self, connection: socket.socket, caller: socket.socket | None) -> None:
        self.connection = connection
        self.caller = caller
        self.uid = NOBODY if caller is None else sockets.peer(caller)[1]

    def close(self) -> None:
        """Close both connections."""
        self.connection.close()
        if self.caller is not None:
            self.caller.close()


def handle(passed: Passed, config: str, limited: Mapping[int, str], busy: bool = False) -> None:
    """Receive a request from the frontend, carry it out, and answer.

    Args:
        passed: The call.
        config: Path of the policy.
        limited: Actions of users who may not use all of them.
        busy: Whether to refuse it, because there are too many calls.
    """
    connection = passed.connection
    connection.settimeout(_SECONDS)
    try:
        # Read before anything is refused, because closing a connection with unread data would discard the answer.
        data = _receive(connection)
        if busy:
            raise ServiceError(BUSY, "too many concurrent calls on this gateway: repeat the call later")
        caller = _identify(passed)
        call = read_request(data)
        _check_allowed(call, caller, config, limited)
        content = answer(carry_out(call, partial(_act, caller=caller, config=config)))
    except ServiceError as error:
        content = refusal(error)
    except Exception:  # pylint: disable=broad-except
        # Only loaded here, because the service keeps in memory what it has loaded.
        import traceback

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


def _receive(connection: socket.socket) -> bytes:
    """Return the request."""
    parts = []
    size = 0
    while size <= MAX_REQUEST:
        part = connection.recv(1 << 18)
        if not part:
            break
        parts.append(part)
        size += len(part)
    return b"".join(parts)


def _identify(passed: Passed) -> Caller:
    """Return the user at the other end of the connection of the caller."""
    if passed.caller is None:
        raise ServiceError(DENIED, "requests must be accompanied by the connection of the caller")
    # Subordinate users of user namespaces would each have limits of their own.
    if not has_account(passed.uid):
        raise ServiceError(
            DENIED, f"user {passed.uid} has no account on this gateway: do not call it in a user namespace"
        )
    if passed.uid:
        return Caller(passed.uid)
    # Like a module, root acts on behalf of the user who logged in.
    process = sockets.PeerProcess(passed.caller)
    try:
        caller = find_user_of_root(str(process.pid))
        # If it has exited, another process may have had its PID.
        if process.has_exited():
            raise ServiceError(DENIED, "the calling process has exited, so that its user cannot be determined")
        return caller
    finally:
        process.close()


def _check_allowed(call: Call, caller: Caller, config: str, limited: Mapping[int, str]) -> None:
    if call.config is not None and os.path.normpath(call.config) != os.path.normpath(config):
        raise ServiceError(
            OTHER_CONFIG, f"config: the service of this gateway uses {config}: omit the option, or specify that path"
        )
    allowed = None if caller.uid is None else limited.get(caller.uid)
    if allowed not in (None, call.action):
        raise ServiceError(DENIED, f"action: {caller.name} may only use {allowed} on this gateway")


def _act(call: Call, caller: Caller, config: str) -> dict[str, Any]:
    if call.action == INFO:
        return gather(config, call.arguments)
    result = perform(ACTION_TYPES[call.action], config, call.arguments, call.check, caller)
    line = log_line(call, caller, result)
    if line:
        report(line)
    return result
