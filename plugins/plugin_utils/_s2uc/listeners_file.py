# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The file with the listeners to which consumer applications connect: JSON, plain lines, or a template."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import parse_endpoint
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, ValueRefused, show
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import TRANSPORTS
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.dealing import interleaved
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.output_file import write_output

_COLLECTION = os.path.abspath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 3))
_TEMPLATES = os.path.join(_COLLECTION, "playbooks/templates/listeners")
#: Templates of this collection.
SHIPPED = ("haproxy", "dns_srv")
_OPTION, _TEMPLATE_OPTION = "listeners_file", "listeners_template"
_MAX_TEMPLATE = 1 << 20


def check_template(option: str, value: Any) -> str:
    """Return the absolute path of a template.

    Args:
        option: Name of the option.
        value: Its value: the name of a template of this collection, or a path.

    Raises:
        ScistreamError: It cannot be read, or has syntax errors.
    """
    if not isinstance(value, str) or "\0" in value:
        raise ValueRefused(option, value, f"must be {', '.join(SHIPPED)}, or the path of a template")
    path = _shipped(value) if value in SHIPPED else os.path.abspath(os.path.expanduser(value))
    if not os.path.isfile(path):
        raise ValueRefused(option, value, f"must be {', '.join(SHIPPED)}, or the path of a template that exists")
    _template(path, option)
    return path


def template_problems(option: str, path: str, streams: Mapping[str, str]) -> Iterable[str]:
    """Return why the software that reads what a template of this collection writes cannot use some of the streams.

    Args:
        option: Name of the option.
        path: Path of the template.
        streams: Transport of each stream, by its name.
    """
    if path == _shipped("haproxy"):
        for name in [name for name, transport in streams.items() if transport == "udp"]:
            yield f"{option}: haproxy is not allowed with stream {show(name)}: HAProxy does not forward UDP"
    if path == _shipped("dns_srv"):
        known: dict[str, str] = {}
        for name in streams:
            if ".." in name:
                yield f"{option}: dns_srv is not allowed with stream {show(name)}: names in DNS have no empty parts"
            other = known.setdefault(name.lower(), name)
            if other != name:
                yield (
                    f"{option}: dns_srv is not allowed with streams {show(other)} and {show(name)}: names in DNS are "
                    "the same in capital and small letters"
                )


def write_listeners(streams: Mapping[str, Any], path: str, template: str = "") -> bool:
    """Write the listeners of open streams to a file, and return whether this changes it.

    Args:
        streams: The streams by name, as the playbooks return them.
        path: Path of the file. With ``.json`` at its end and without a template, it is JSON.
        template: Path of a template, empty for none.

    Raises:
        ScistreamError: The file cannot be written.
    """
    found = [_stream(name, stream) for name, stream in streams.items()]
    if template:
        try:
            text = _template(template, _TEMPLATE_OPTION).render(streams=found)
        except Exception as error:
            # A template can raise anything.
            raise ScistreamError(f"{_TEMPLATE_OPTION}: {template} cannot be rendered: {error}") from None
    elif path.endswith(".json"):
        text = f"{json.dumps({'streams': found}, indent=2)}\n"
    else:
        text = "".join(f"{one['listener']}\n" for stream in found for one in stream["listeners"])
    if _present(path) == text:
        return False
    write_output(_OPTION, path, text)
    return True


def _shipped(name: str) -> str:
    return os.path.join(_TEMPLATES, f"{name}.j2")


def _template(path: str, option: str) -> jinja2.Template:
    environment = ImmutableSandboxedEnvironment(
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    try:
        with open(path, encoding="utf-8") as file:
            return environment.from_string(file.read(_MAX_TEMPLATE))
    except OSError as error:
        raise ScistreamError(f"{option}: {path} cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, jinja2.TemplateError) as error:
        raise ScistreamError(f"{option}: {path} is not a template: {error}") from None


def _stream(name: str, stream: Mapping[str, Any]) -> dict[str, Any]:
    parts = [stream] if "legs" not in stream else stream["legs"].values()
    # In the same order as connect_to, so that the first listeners are on different gateways.
    gateways = interleaved([[part["gateways"]["consumer"]] * len(part["connect_to"]) for part in parts])
    listeners = zip(stream["connect_to"], gateways, strict=True)
    return {
        "name": name,
        "uid": stream["uid"],
        "transport": _transport(stream),
        "listeners": [_listener(number, *one) for number, one in enumerate(listeners, 1)],
    }


def _transport(stream: Mapping[str, Any]) -> str:
    """Return the transport of a stream, which all of its legs have in common."""
    parts = [stream] if "legs" not in stream else stream["legs"].values()
    return next((part["transport"] for part in parts if part.get("transport") in TRANSPORTS), "tcp")


def _listener(number: int, text: str, gateway: str) -> dict[str, Any]:
    # Gateways of other facilities may return anything, which must not end up in the configuration of other software.
    try:
        endpoint = parse_endpoint(_OPTION, text)
    except ValueRefused:
        endpoint = None
    if endpoint is None or endpoint.address is None:
        raise ScistreamError(f"{_OPTION}: {gateway} returned the listener {show(text)}, which is not an address")
    return {
        "number": number,
        "gateway": gateway,
        "listener": str(endpoint),
        "address": endpoint.host,
        "port": endpoint.port,
    }


def _present(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return file.read()
    except (OSError, UnicodeDecodeError):
        return None
