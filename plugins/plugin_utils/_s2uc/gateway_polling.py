# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asking gateways for reports, each at its own pace, so that one that does not answer does not delay the others."""

from __future__ import annotations

import asyncio
import http.client
import selectors
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ValueRefused, printable
from ansible_collections.scistream.gateway.plugins.module_utils._common.values import check_number
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.gateway_report import (
    MAX_BYTES,
    ReportError,
    read_report,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_events import GatewayEvents, Limits

_DAY = 86400
#: Options that are numbers of seconds, each with its default, minimum and maximum.
SECONDS: Mapping[str, Sequence[int]] = {
    "interval": (10, 1, 3600),
    "timeout": (10, 1, 600),
    "stall": (300, 0, 365 * _DAY),
    "expiring": (600, 0, 365 * _DAY),
    "repeat": (0, 0, 365 * _DAY),
}
_OPTIONS = ("gateways", *SECONDS)
# ansible-rulebook adds this one for sources that receive feedback.
_IGNORED = ("eda_feedback_queue",)
_KEYS = ("name", "url", "command")
_MAX_GATEWAYS = 500
_MAX_SAID = 1 << 14


class Queue(Protocol):
    """Where events are put."""

    async def put(self, item: Any) -> None:
        """Put an event."""


@dataclass(frozen=True)
class Gateway:
    """A gateway, and how it is asked.

    Args:
        label: What it is called in events until it reports its name.
        name: Its name. If empty, the one that it reports.
        url: Address of its status document. If empty, the command is used.
        command: A command that prints the output of ``s2cs info --json``.
    """

    label: str
    name: str = ""
    url: str = ""
    command: Sequence[str] = ()


@dataclass(frozen=True)
class Settings:
    """Options of the event source.

    Args:
        gateways: The gateways.
        interval: Seconds between two reports of a gateway.
        timeout: Maximum number of seconds for a report.
        limits: When something is an event.
    """

    gateways: Sequence[Gateway]
    interval: float
    timeout: float
    limits: Limits


def read_settings(options: Mapping[str, Any]) -> Settings:
    """Return the options of the event source.

    Raises:
        ValueRefused: One of them is not allowed.
    """
    unknown = sorted(set(options) - {*_OPTIONS, *_IGNORED})
    if unknown:
        raise ValueRefused("stream_events", unknown, f"the options are {', '.join(_OPTIONS)}")
    numbers = {
        name: check_number(name, options.get(name, first), low, high) for name, (first, low, high) in SECONDS.items()
    }
    gateways = options.get("gateways")
    if not isinstance(gateways, list) or not 1 <= len(gateways) <= _MAX_GATEWAYS:
        raise ValueRefused("gateways", gateways, "must be a list of gateways, each with a url or a command")
    limits = Limits(numbers["stall"], numbers["expiring"], numbers["repeat"])
    found = [_gateway(f"gateways[{index}]", item) for index, item in enumerate(gateways)]
    return Settings(found, numbers["interval"], numbers["timeout"], limits)


async def watch(queue: Queue, settings: Settings) -> None:
    """Put what happens to the streams of all gateways into a queue, until this is cancelled."""
    # One thread for each, so that a gateway that does not answer does not delay the others.
    pool = ThreadPoolExecutor(len(settings.gateways), "stream_events")
    try:
        await asyncio.gather(*(_watch(queue, gateway, settings, pool) for gateway in settings.gateways))
    finally:
        pool.shutdown(wait=False)


async def _watch(queue: Queue, gateway: Gateway, settings: Settings, pool: ThreadPoolExecutor) -> None:
    events = GatewayEvents(gateway.label, settings.limits)
    asking: asyncio.Future[bytes] | None = None
    while True:
        begin = time.monotonic()
        if asking is None:
            asking = asyncio.get_running_loop().run_in_executor(pool, _ask, gateway, settings.timeout)
        # Looking up a name may take longer. Then the gateway is not asked again before.
        await asyncio.wait([asking], timeout=settings.timeout + 1)
        if asking.done():
            try:
                found = events.report(read_report(asking.result(), gateway.name, time.time()))
            except ReportError as error:
                found = events.failure(str(error), time.time())
            asking = None
        else:
            found = events.failure(_late(settings.timeout), time.time())
        for event in found:
            await queue.put(event)
        await asyncio.sleep(max(0.1, begin + settings.interval - time.monotonic()))


def _ask(gateway: Gateway, timeout: float) -> bytes:
    return _get(gateway.url, timeout) if gateway.url else _run(gateway.command, timeout)


def _late(timeout: float) -> str:
    return f"no answer within {timeout:g} s"


def _get(url: str, timeout: float) -> bytes:
    """Return a document, reading for at most so many seconds."""
    deadline = time.monotonic() + timeout
    try:
        with urllib.request.build_opener().open(url, timeout=timeout) as answer:
            text = bytearray()
            while len(text) <= MAX_BYTES:
                part = answer.read1(1 << 16)
                if not part:
                    return bytes(text)
                text += part
                if time.monotonic() > deadline:
                    raise ReportError(f"{url} did not answer completely within {timeout:g} s")
            return bytes(text)
    except urllib.error.HTTPError as error:
        raise ReportError(f"{url} answers {error.code} ({printable(error.reason)})") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise ReportError(f"{url} does not answer: {printable(str(getattr(error, 'reason', error)))}") from None


def _run(command: Sequence[str], timeout: float) -> bytes:
    """Return the output of a command, which is killed if it takes too long or prints too much."""
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
        )
    except (OSError, ValueError) as error:
        raise ReportError(f"{command[0]} cannot be run: {error}") from None
    with process:
        try:
            text, said = _output(process, timeout)
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise ReportError(_late(timeout)) from None
        finally:
            process.kill()
    # A gateway that failed reports that itself.
    if status and not text.lstrip().startswith(b"{"):
        last = (said.decode("utf-8", "replace").strip().splitlines() or ["no output"])[-1]
        raise ReportError(f"{command[0]} exited with status {status}: {printable(last)}")
    return text


def _output(process: subprocess.Popen[bytes], timeout: float) -> tuple[bytes, bytes]:
    """Return what a process prints until it closes its standard output.

    Processes that it starts in the background, such as those of SSH, may keep the one for errors open.
    """
    deadline = time.monotonic() + timeout
    if process.stdout is None or process.stderr is None:
        raise ValueError("the outputs of the program must be pipes")
    text, said = bytearray(), b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        selector.register(process.stderr, selectors.EVENT_READ)
        while True:
            left = deadline - time.monotonic()
            ready = [key.fileobj for key, _events in selector.select(max(0.0, left))] if left > 0 else []
            if not ready:
                raise subprocess.TimeoutExpired(process.args, timeout)
            if process.stderr in ready:
                part = process.stderr.read(1 << 16) or b""
                said = (said + part)[-_MAX_SAID:]
                if not part:
                    selector.unregister(process.stderr)
            elif process.stdout in ready:
                part = process.stdout.read(1 << 16) or b""
                if not part:
                    return bytes(text), said
                text += part
                if len(text) > MAX_BYTES:
                    raise ReportError(f"it printed more than {MAX_BYTES >> 20} MiB")


def _gateway(option: str, item: Any) -> Gateway:
    if not isinstance(item, Mapping) or set(item) - set(_KEYS):
        raise ValueRefused(option, item, f"must be a dictionary with {', '.join(_KEYS[:-1])} or {_KEYS[-1]}")
    name, url, command = item.get("name") or "", item.get("url") or "", item.get("command") or []
    if not isinstance(name, str) or len(name) > 253 or not name.isprintable():
        raise ValueRefused(f"{option}.name", name, "must be the name of the gateway")
    if bool(url) == bool(command):
        raise ValueRefused(option, item, "must have either a url or a command")
    if url:
        url = _check_url(f"{option}.url", url)
    elif not isinstance(command, list) or not all(isinstance(word, str) and word for word in command):
        allowed = "must be a list of words, such as [ssh, gw-aps.example.org, s2cs, info, --json]"
        raise ValueRefused(f"{option}.command", command, allowed)
    return Gateway(name or url or " ".join(command), name, url, tuple(command))


def _check_url(option: str, url: Any) -> str:
    allowed = "must be the address of a status page, such as http://gw-aps.example.org:9464/"
    if not isinstance(url, str) or not url.isprintable() or " " in url:
        raise ValueRefused(option, url, allowed)
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment or parts.username is not None:
        raise ValueRefused(option, url, allowed)
    return url if parts.path.endswith(".json") else f"{url.rstrip('/')}/status.json"
