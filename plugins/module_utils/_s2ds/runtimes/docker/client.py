# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A connection to a Docker engine that holds nobody up: each question has one deadline, each answer a largest size.

The Docker SDK for Python limits the silence between two bytes alone. An engine that hangs, or that never comes to an
end, is left by a thread of its own here, which does not keep the program from ending.
"""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass
from typing import Any, Callable

from ansible.module_utils.basic import missing_required_lib

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.deadline import (
    Answer,
    DeadlineExceededError,
    read_bounded,
    within,
)

# How long an engine that did not answer is not asked again what it knows.
_SILENT_SECONDS = 10.0
LARGEST = 16 << 20

# When each engine that did not answer in time was last asked, by its address.
_silent: dict[str, float] = {}


@dataclass(frozen=True)
class Timeouts:
    """How many seconds an engine has.

    Args:
        connect: For a connection.
        connect_ssh: For one over SSH, of which there is more.
        look: For what it tells.
        act: For what it does.
    """

    connect: float = 5.0
    connect_ssh: float = 20.0
    look: float = 6.0
    act: float = 60.0


TIMEOUTS = Timeouts()


class NotFoundError(S2DSException):
    """The engine has no such thing."""


class Connection:
    """The client of the SDK for one engine, made when the first question is asked.

    Args:
        address: ``unix:///path``, ``tcp://host:port`` or ``ssh://user@host``.
        timeouts: How long it is waited for.
    """

    def __init__(self, address: str, timeouts: Timeouts) -> None:
        self.address = address
        self.timeouts = timeouts
        self.errors: Any = None
        self._api: Any = None

    def call(self, what: str, action: Callable[[Any], Answer], seconds: float | None = None) -> Answer:
        """Return what an action with the client returns.

        Args:
            what: What the engine is to do, for messages.
            action: Asks it.
            seconds: How long all of it may take. By default it is a look, and those are not tried again at once with an
                engine that is silent.

        Raises:
            NotFoundError: The engine does not have what this is about.
            S2DSException: It did not do it, or not in time.
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
        # Whatever the SDK stumbles over in an answer that is none.
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
        # A thread still waits for the client's answer.
        self._api = None
        _silent[self.address] = time.monotonic()

    def _connect(self) -> Any:
        try:
            import docker
        except ImportError:
            _missing("the role scistream.gateway.docker installs it")
        self.errors = docker.errors
        remote = self.address.startswith("ssh:")
        # Over SSH the SDK keeps a channel for each path that was asked for, and a server allows ten.
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
        # The transport over SSH lets through whatever paramiko, the socket or the name service raise.
        except Exception as error:
            raise S2DSException(
                f"the Docker engine {self.address} does not answer: {one_line(error)}; start it, correct engine, or "
                "check whether this user may use it (the role scistream.gateway.docker installs it)"
            ) from None
        _silent.pop(self.address, None)
        return api


def _bounded_client(docker: Any) -> Any:
    """Return the client of the SDK, which reads no answer that has no end."""

    class Client(docker.APIClient):  # type: ignore[misc]
        def send(self, request: Any, **options: Any) -> Any:
            response = super().send(request, **{**options, "stream": True})
            if not options.get("stream"):
                response._content = read_bounded(response.iter_content(1 << 16), LARGEST)
            return response

    return Client


def _missing(reason: str, library: str = "docker") -> None:
    last = traceback.format_exc().strip().splitlines()[-1]
    raise S2DSException(f"{missing_required_lib(library, reason=f'({reason})')} {last}") from None


def one_line(error: BaseException) -> str:
    """Return what an error says on one line of readable length."""
    text = " ".join(str(getattr(error, "explanation", None) or error or type(error).__name__).split())
    text = "".join(char if char.isprintable() else "?" for char in text)
    return text if len(text) <= 300 else text[:297] + "..."
