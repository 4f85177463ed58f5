# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The parts of a Janus controller's REST API that data servers require. It knows neither proxies nor streams.

Access to a Janus controller grants control of the container engines of all its nodes. Therefore the password is read
from a file, sent only to that controller, and never included in messages.
"""

from __future__ import annotations

import base64
import json
import re
import ssl
import time
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Any, Mapping, Sequence
from urllib.parse import quote, urlencode

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.deadline import DeadlineExceededError, within
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.programs import one_line

_PREFIX = "/api/janus/controller"
_MAX_ANSWER_SIZE = 1 << 24
# Time limit of queries, and time during which a controller that did not answer is not queried again.
_LOOK_SECONDS = 8.0
_SILENT_SECONDS = 10.0
_silent: dict[str, float] = {}
# Status of the engine in Janus's errors, such as "(409) Reason: Conflict ...".
_ENGINE_STATUS = re.compile(r"\((\d{3})\)")


class JanusError(S2DSException):
    """The controller refused a request or failed.

    Args:
        message: The request and Janus's error.
        status: HTTP status, or 0 without an answer.
        engine: State of a container according to the engine, as far as Janus reports it: ``not running``, ``gone`` or
            empty.
    """

    def __init__(self, message: str, status: int = 0, engine: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.engine = engine


class NotRunning(JanusError):
    """The container is not running."""


class NoContainer(JanusError):
    """The container does not exist."""


class JanusClient:
    """A client of one controller, as one of its users.

    Args:
        url: Address of the controller, without the path of its API.
        user: Name of a user of the controller.
        password: Password of that user.
        ca: File with CA certificates that verify the controller. If None, those of the system.
        verify: Whether to verify the certificate of the controller.
        timeout: Time limit in seconds for an answer. Starting a container may take a while.
    """

    def __init__(
        self, url: str, user: str, password: str, ca: str | None = None, verify: bool = True, timeout: float = 60.0
    ) -> None:
        self.url = url.rstrip("/")
        self._user = user
        self._password = password
        self._timeout = timeout
        self._authorization = ""
        try:
            context = ssl.create_default_context(cafile=ca)
        except (OSError, ssl.SSLError) as error:
            raise JanusError(f"the CA certificates in {ca} cannot be used: {error}") from None
        if not verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        # Neither a proxy nor redirects: the password is only for this controller.
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context), _NoRedirection
        )

    def __repr__(self) -> str:
        return f"JanusClient({self.url!r})"

    # -- nodes, images and profiles

    def node(self, name: str) -> dict[str, Any] | None:
        """Return a node by name, or None."""
        return self._find(f"/nodes/{_part(name)}")

    def image(self, name: str) -> dict[str, Any] | None:
        """Return an image by name, or None. Janus names images without their tag."""
        return self._find(f"/images/{quote(repository(name), safe='/')}")

    def profile(self, name: str) -> dict[str, Any] | None:
        """Return a host profile by name, or None."""
        return self._find(f"/profiles/host/{_part(name)}")

    # -- sessions

    def sessions(self, name: str) -> list[dict[str, Any]]:
        """Return the sessions with this name, the oldest first."""
        found = self._ask("GET", "/active")
        if not isinstance(found, list):
            raise JanusError(f"the Janus controller at {self.url} did not return a list of its sessions")
        named = [item for item in found if isinstance(item, dict) and item.get("name") == name]
        if not all(isinstance(item.get("id"), int) for item in named):
            raise JanusError(f"the Janus controller at {self.url} did not return a list of its sessions")
        return sorted(named, key=lambda item: int(item["id"]))

    def session(self, number: int) -> dict[str, Any] | None:
        """Return a session by number, or None."""
        return self._find(f"/active/{number}")

    def create(self, request: Mapping[str, Any]) -> int:
        """Create a session with its containers, without starting them. Returns its number."""
        answer = self._ask("POST", "/create", request)
        try:
            return int(next(iter(answer)))
        except (TypeError, ValueError, StopIteration):
            raise JanusError(f"the Janus controller at {self.url} did not return the session that it created") from None

    def start(self, number: int) -> dict[str, Any]:
        """Start the containers of a session. The returned session includes errors."""
        return self._session_of(number, self._ask("PUT", f"/start/{number}"))

    def stop(self, number: int) -> dict[str, Any]:
        """Stop the containers of a session."""
        return self._session_of(number, self._ask("PUT", f"/stop/{number}"))

    def delete(self, number: int) -> None:
        """Remove a session and its containers, running or not. Does nothing if it does not exist."""
        try:
            self._ask("DELETE", f"/active/{number}")
        except JanusError as error:
            if error.status != 404:
                raise

    # -- containers

    def log(self, number: int, node: str, lines: int) -> list[str]:
        """Return the last lines of the log of a session's container."""
        answer = self._ask("GET", f"/active/{number}/logs/{_part(node)}?{urlencode({'tail': lines})}")
        text = answer.get("response") if isinstance(answer, dict) else None
        return [line for line in str(text or "").splitlines() if line.strip()]

    def execute(self, node: str, container: str, command: Sequence[str]) -> None:
        """Run a command in a container until it exits. Janus reports neither its output nor its exit status.

        Raises:
            NotRunning: The container is not running.
            NoContainer: The container does not exist.
        """
        try:
            self._ask("POST", "/exec", {"node": node, "container": container, "Cmd": list(command), "start": True})
        except JanusError as error:
            kinds: Mapping[str, type[JanusError]] = {"not running": NotRunning, "gone": NoContainer}
            raise kinds.get(error.engine, JanusError)(str(error), error.status, error.engine) from None

    # -- requests

    def _find(self, path: str) -> dict[str, Any] | None:
        try:
            answer = self._ask("GET", path)
        except JanusError as error:
            if error.status == 404:
                return None
            raise
        return answer if isinstance(answer, dict) else None

    def _session_of(self, number: int, answer: Any) -> dict[str, Any]:
        """Return the session in an answer, which is not nested if there was nothing to do."""
        found = answer.get(str(number), answer) if isinstance(answer, dict) else None
        if not isinstance(found, dict) or "state" not in found:
            raise JanusError(f"the Janus controller at {self.url} did not return the state of session {number}")
        return found

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Return the answer to a request. An expired token is renewed once."""
        fresh = not self._authorization
        if fresh:
            self._log_in()
        try:
            return self._send(method, path, body, self._authorization)
        except JanusError as error:
            if error.status != 401 or fresh:
                raise
        self._log_in()
        return self._send(method, path, body, self._authorization)

    def _log_in(self) -> None:
        """Request a token, because verifying a password in each request is slow. Older versions have no tokens."""
        basic = "Basic " + base64.b64encode(f"{self._user}:{self._password}".encode()).decode()
        try:
            self._authorization = f"Bearer {self._send('POST', '/token', None, basic)['access_token']}"
        except JanusError as error:
            if error.status not in (404, 405):
                raise
            self._authorization = basic
        except (KeyError, TypeError):
            self._authorization = basic

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None, authorization: str) -> Any:
        request = urllib.request.Request(
            f"{self.url}{_PREFIX}{path}",
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"Accept": "application/json", "Content-Type": "application/json"},
        )
        request.add_unredirected_header("Authorization", authorization)
        what = f"{method} {path.partition('?')[0]}"
        looks = path == "/token" or (method == "GET" and "refresh" not in path)
        asked = _silent.get(self.url)
        if looks and asked is not None and time.monotonic() - asked < _SILENT_SECONDS:
            raise JanusError(
                f"the Janus controller at {self.url} did not answer recently and was not contacted again ({what})"
            )
        seconds = min(self._timeout, _LOOK_SECONDS) if looks else self._timeout
        try:
            text = within(seconds, lambda: self._read(request, seconds))
        except DeadlineExceededError:
            _silent[self.url] = time.monotonic()
            raise JanusError(
                f"the Janus controller at {self.url} does not answer: {what} took more than {seconds:.0f} s"
            ) from None
        except urllib.error.HTTPError as error:
            with error:
                message = _error_message(error.read(1 << 16)) or f"no reason given, status {error.code}"
            engine = _engine(message)
            if error.code == 401:
                message = f"it does not accept the user {self._user} with this password ({message})"
            raise JanusError(
                self._clean(f"the Janus controller at {self.url}, {what}: {message}"), error.code, engine
            ) from None
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise JanusError(self._clean(f"the Janus controller at {self.url} does not answer: {reason}")) from None
        try:
            return json.loads(text) if text.strip() else None
        except (ValueError, RecursionError):
            raise JanusError(f"{self.url} is not a Janus controller: {what} did not return JSON") from None

    def _read(self, request: urllib.request.Request, seconds: float) -> bytes:
        with self._opener.open(request, timeout=seconds) as answer:
            text: bytes = answer.read(_MAX_ANSWER_SIZE)
            return text

    def _clean(self, text: str) -> str:
        """Return a message without secrets."""
        for hidden in (self._password, self._authorization.partition(" ")[2]):
            if hidden:
                text = text.replace(hidden, "***")
        return one_line(text.splitlines())


class _NoRedirection(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments: Any, **more: Any) -> None:
        return None


def repository(image: str) -> str:
    """Return the name of an image without its tag or digest."""
    name = image.partition("@")[0]
    head, colon, tag = name.rpartition(":")
    return name if not colon or "/" in tag else head


def _part(name: str) -> str:
    """Return a name as a segment of a path."""
    return quote(name, safe="")


def _engine(message: str) -> str:
    """Return the state of a container according to the engine's error. It may exit during a request."""
    status = _ENGINE_STATUS.search(message)
    if "is not running" in message or (status and status.group(1) == "409"):
        return "not running"
    return "gone" if status and status.group(1) == "404" else ""


def _error_message(answer: bytes) -> str:
    """Return Janus's message in an error."""
    text = answer.decode("utf-8", "replace")
    try:
        document = json.loads(text)
    except ValueError:
        return "it returned a web page instead of an error" if "<" in text else text
    message = document.get("error", document) if isinstance(document, dict) else document
    # Errors about the format of a request are lists.
    return message if isinstance(message, str) else json.dumps(message)
