# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asking gateways for reports, each at its own pace, so that one that does not answer does not delay the others."""

from __future__ import annotations

import asyncio
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
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
_MAX_GATEWAYS = 1000


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
    await asyncio.gather(*(_watch(queue, gateway, settings) for gateway in settings.gateways))


async def _watch(queue: Queue, gateway: Gateway, settings: Settings) -> None:
    events = GatewayEvents(gateway.label, settings.limits)
    while True:
        begin = time.monotonic()
        try:
            text = await asyncio.wait_for(_ask(gateway, settings.timeout), settings.timeout + 1)
            found = events.report(read_report(text, gateway.name, time.time()))
        except ReportError as error:
            found = events.failure(str(error), time.time())
        except asyncio.TimeoutError:
            found = events.failure(f"no answer within {settings.timeout:g} s", time.time())
        for event in found:
            await queue.put(event)
        await asyncio.sleep(max(0.1, begin + settings.interval - time.monotonic()))


async def _ask(gateway: Gateway, timeout: float) -> bytes:
    if gateway.url:
        return await asyncio.to_thread(_get, gateway.url, timeout)
    return await asyncio.wait_for(_run(gateway.command), timeout)


def _get(url: str, timeout: float) -> bytes:
    """Return a document, reading for at most so many seconds."""
    deadline = time.monotonic() + timeout
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            text = b""
            while len(text) <= MAX_BYTES:
                part = answer.read1(1 << 16)
                if not part:
                    return text
                text += part
                if time.monotonic() > deadline:
                    raise ReportError(f"{url} did not answer completely within {timeout:g} s")
            return text
    except urllib.error.HTTPError as error:
        raise ReportError(f"{url} answers {error.code} ({printable(error.reason)})") from None
    except (OSError, ValueError) as error:
        raise ReportError(f"{url} does not answer: {printable(str(getattr(error, 'reason', error)))}") from None


async def _run(command: Sequence[str]) -> bytes:
    """Return the output of a command, which is killed if it takes too long or prints too much."""
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe
        )
    except (OSError, ValueError) as error:
        raise ReportError(f"{command[0]} cannot be run: {error}") from None
    assert process.stdout is not None and process.stderr is not None
    try:
        text, said = await asyncio.gather(_read(process.stdout, MAX_BYTES), _read(process.stderr, 1 << 16))
        status = await process.wait()
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    # A gateway that failed reports that itself.
    if status and not text.lstrip().startswith(b"{"):
        last = (said.decode("utf-8", "replace").strip().splitlines() or ["no output"])[-1]
        raise ReportError(f"{command[0]} exited with status {status}: {printable(last)}")
    return text


async def _read(stream: asyncio.StreamReader, limit: int) -> bytes:
    text = b""
    while part := await stream.read(1 << 16):
        text += part
        if len(text) > limit:
            raise ReportError(f"it printed more than {limit} bytes")
    return text


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
