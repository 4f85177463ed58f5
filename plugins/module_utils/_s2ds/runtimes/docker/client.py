# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Connections to Docker engines, with a deadline for each call and a maximum size of each answer.

The Docker SDK for Python only limits the time between two bytes. Calls to an engine that hangs, or whose answer never
ends, are left in a thread that does not keep the program from exiting.
"""

from __future__ import annotations

import sys
import time
import traceback
from dataclasses import dataclass
from typing import Any, Callable

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.deadline import (
    Answer,
    DeadlineExceededError,
    read_bounded,
    within,
)

# Time during which an engine that did not answer is not queried again.
_SILENT_SECONDS = 10.0
MAX_ANSWER_SIZE = 16 << 20

# Time of the last call to each engine that did not answer, by address.
_silent: dict[str, float] = {}


@dataclass(frozen=True)
class Timeouts:
    """Time limits for an engine, in seconds.

    Args:
        connect: For connecting.
        connect_ssh: For connecting over SSH.
        look: For queries.
        act: For changes.
    """

    connect: float = 5.0
    connect_ssh: float = 20.0
    look: float = 6.0
    act: float = 60.0


TIMEOUTS = Timeouts()


class NotFoundError(S2DSException):
    """The engine does not have the object."""


class Connection:
    """The SDK's client for one engine, which connects on the first call.

    Args:
        address: ``unix:///path``, ``tcp://host:port`` or ``ssh://user@host``.
        timeouts: Time limits.
    """

    def __init__(self, address: str, timeouts: Timeouts) -> None:
        self.address = address
        self.timeouts = timeouts
        self.errors: Any = None
        self._api: Any = None

    def call(self, what: str, action: Callable[[Any], Answer], seconds: float | None = None) -> Answer:
        """Return what a function of the client returns.

        Args:
            what: Description of the call, for messages.
            action: The function.
            seconds: Time limit of a change. If omitted, the call is a query, which is not tried again soon after an
                engine has not answered.

        Raises:
            NotFoundError: The engine does not have the object.
            S2DSException: The call failed, or took too long.
        """
        asked = _silent.get(self.address)
        if seconds is None and asked is not None and time.monotonic() - asked < _SILENT_SECONDS:
            raise S2DSException(
                f"the Docker engine {self.address} did not answer recently, so no attempt was made to {what}"
            )
        seconds = seconds or self.timeouts.look
        api = self._connected()
        try:
            return within(seconds, lambda: action(api))
        except DeadlineExceededError:
            self._forget()
            raise S2DSException(
                f"the Docker engine {self.address} does not answer: it took more than {seconds:.0f} s to {what}; check "
                f"whether it works (docker --host {self.address} ps)"
            ) from None
        except self.errors.DockerException as error:
            kind = NotFoundError if isinstance(error, self.errors.NotFound) else S2DSException
            raise kind(f"the Docker engine {self.address} could not {what}: {one_line(error)}") from None
        except S2DSException:
            raise
        # The SDK may raise any exception for an invalid answer.
        except Exception as error:
            self._api = None
            raise S2DSException(
                f"the Docker engine {self.address} stopped answering while it should {what}: {one_line(error)}"
            ) from None

    def _connected(self) -> Any:
        if self._api is None:
            self._api = self._connect()
        return self._api

    def _forget(self) -> None:
        # A thread is still using the client.
        self._api = None
        _silent[self.address] = time.monotonic()

    def _connect(self) -> Any:
        try:
            import docker
        except ImportError:
            _missing("the role scistream.gateway.docker installs it")
        self.errors = docker.errors
        remote = self.address.startswith("ssh:")
        # Over SSH, the SDK keeps a channel for each path, and servers allow ten.
        pools = {"num_pools": 2} if remote else {}
        seconds = self.timeouts.connect_ssh if remote else self.timeouts.connect
        kind = _bounded_client(docker)
        try:
            api = within(
                seconds, lambda: kind(base_url=self.address, version="auto", timeout=self.timeouts.act, **pools)
            )
        except ImportError:
            _missing("ssh:// requires it together with paramiko", "docker[ssh]")
        except DeadlineExceededError:
            self._forget()
            raise S2DSException(
                f"the Docker engine {self.address} does not answer within {seconds:.0f} s: check whether it works "
                f"(docker --host {self.address} ps), or correct engine"
            ) from None
        # The SSH transport does not catch the exceptions of paramiko, sockets and name resolution.
        except Exception as error:
            raise S2DSException(
                f"the Docker engine {self.address} does not answer: {one_line(error)}; start it, correct engine, or "
                "check whether this user may use it (the role scistream.gateway.docker installs it)"
            ) from None
        _silent.pop(self.address, None)
        return api


def _bounded_client(docker: Any) -> Any:
    """Return the SDK's client class with limited sizes of answers."""

    class Client(docker.APIClient):  # type: ignore[misc]
        def send(self, request: Any, **options: Any) -> Any:
            response = super().send(request, **{**options, "stream": True})
            if not options.get("stream"):
                response._content = read_bounded(response.iter_content(1 << 16), MAX_ANSWER_SIZE)
            return response

    return Client


def _missing(reason: str, library: str = "docker") -> None:
    last = traceback.format_exc().strip().splitlines()[-1]
    raise S2DSException(
        f"{sys.executable} on this gateway has no Python library {library} ({reason}): {last}; install it for this "
        "interpreter, or set another one in ansible_python_interpreter"
    ) from None


def one_line(error: BaseException) -> str:
    """Return the message of an error as one line, shortened if it is too long."""
    text = " ".join(str(getattr(error, "explanation", None) or error or type(error).__name__).split())
    text = "".join(char if char.isprintable() else "?" for char in text)
    return text if len(text) <= 300 else text[:297] + "..."
