# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Starts many supervisors from one process that has loaded everything, which takes a fraction of the time.

Orders arrive at standard input, a UNIX socket of type SEQPACKET: the arguments of a supervisor as a JSON list, and the
descriptor with its lock. The answer is `{}` or `{"error": "..."}`. The first message is `{}`, when this process is
ready. It ends with the process that sends the orders; the supervisors continue.
"""

from __future__ import annotations

import array
import json
import os
import socket
import sys

import command_line
import forwarder
import supervisor

MAX_ORDER = 1 << 16


def serve() -> int:
    """Start supervisors until there are no more orders."""
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, 0)
    # Before the first fork, so that all have it.
    program = [sys.executable, "-I", "-S", os.path.realpath(sys.argv[0])]
    command_line.look_up()
    try:
        channel.send(b"{}")
        while True:
            words, lock = receive(channel)
            if not words:
                return 0
            answer = {}
            try:
                # Also before the first fork.
                forwarder.load(words[words.index("--") + 1 :], for_many=True)
                if not os.fork():
                    channel.detach()
                    start(program, words, lock)
            except OSError as error:
                answer["error"] = str(error)
            os.close(lock)
            channel.send(json.dumps(answer).encode())
    except ConnectionError:
        return 0


def receive(channel: socket.socket) -> tuple[list[str], int]:
    """Return the arguments and the lock of the next supervisor; no arguments after the last one."""
    room = socket.CMSG_SPACE(array.array("i").itemsize)
    data, extra, _flags, _address = channel.recvmsg(MAX_ORDER, room)
    if not data:
        return [], -1
    locks = array.array("i")
    for level, kind, content in extra:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            locks.frombytes(content[: len(content) - len(content) % locks.itemsize])
    os.set_inheritable(locks[0], False)
    return json.loads(data), locks[0]


def start(program: list[str], words: list[str], lock: int) -> None:
    """Be the supervisor, in a process that was forked, and exit."""
    status = 1
    try:
        if not command_line.change([*program, *words]):
            # The process must be recognizable.
            os.set_inheritable(lock, True)
            os.execv(program[0], [*program, *words[:2], "--lock", str(lock), *words[2:]])
        split = words.index("--")
        user = words[3] if split > 2 else ""
        status = supervisor.supervise(lock, user, words[split + 1 :])
    finally:
        os._exit(status)
