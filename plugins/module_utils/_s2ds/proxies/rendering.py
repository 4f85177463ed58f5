# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rendering configurations from the templates that the roles installed on this gateway. A site can replace a template.

Everything that a template inserts into a configuration is checked once more: no value can end a line, a word or a
quoted string, regardless of the syntax of the configuration.
"""

from __future__ import annotations

import ipaddress
import os
import re
import sys
from typing import Any, Mapping, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import Endpoint
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException, show
from ansible_collections.scistream.gateway.plugins.module_utils._common.version import VERSION
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds import credentials
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import DataServerSpec

try:
    from jinja2 import StrictUndefined, TemplateError, Undefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment
except ImportError as error:
    JINJA2_PROBLEM = str(error)
else:
    JINJA2_PROBLEM = ""

# A word of a configuration: names, numbers, addresses, networks, paths.
_WORD = re.compile(r"[A-Za-z0-9_.:/@\[\]+-]*", re.ASCII)
# Values that an expression in a template may insert: such words, and lists of them.
_WORDS = re.compile(r"[A-Za-z0-9_.:/@\[\]+, -]*", re.ASCII)
_TEXT = re.compile(r"[\t\n\x20-\x7e\xa0-\U0010ffff]*")


def render(path: str, role: str, values: Mapping[str, Any]) -> str:
    """Render a template.

    Args:
        path: The template.
        role: The role that installs it, for the message.
        values: Variables of the template.

    Raises:
        S2DSException: The template does not exist or cannot be used, or inserts a value that is not allowed.
    """
    check_jinja2()
    text = _read(path, role)
    try:
        environment = ImmutableSandboxedEnvironment(
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            autoescape=False,
            finalize=_checked,
        )
        rendered = environment.from_string(text).render(_checked_values(values))
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        raise S2DSException(
            f"the template {path} cannot be used{f', line {line}' if line else ''}: {_readable(error)}"
        ) from None
    except S2DSException as error:
        raise S2DSException(f"the template {path} cannot be used: {error}") from None
    # Expressions in a site's template may raise any exception.
    except Exception as error:
        raise S2DSException(f"the template {path} cannot be used: {type(error).__name__}: {_readable(error)}") from None
    if not _TEXT.fullmatch(rendered):
        raise S2DSException(f"the template {path} cannot be used: its output contains control characters")
    return rendered


def check_jinja2() -> None:
    """Refuse to continue without Jinja2."""
    if JINJA2_PROBLEM:
        raise S2DSException(
            f"{sys.executable}, which runs the modules on this gateway, has no Jinja2, which this proxy requires "
            f"({JINJA2_PROBLEM}): install it for this interpreter, or set another one in "
            "ansible_python_interpreter; the role scistream.gateway.s2cs installs it for the system's Python"
        )


def check_template(path: str, role: str) -> None:
    """Refuse to continue without the template."""
    if not os.path.exists(path):
        raise S2DSException(f"there is no template {path}: run the role {role} on this gateway")


def template_values(spec: DataServerSpec, suites: Sequence[str] = tuple(credentials.SUITES.values())) -> dict[str, Any]:
    """Return the variables for any template.

    Args:
        spec: The specification.
        suites: The cipher suites that may be used.
    """
    return {
        "name": spec.name,
        "role": spec.role,
        "encryption": spec.encryption,
        "transport": spec.transport,
        "tls": _tls(spec, suites),
        "listeners": [
            {"name": f"listener{index}", **_endpoint(listener), "target": _endpoint(spec.target_of(index))}
            for index, listener in enumerate(spec.listeners)
        ],
        "clients": [str(ipaddress.ip_network(network)) for network in spec.clients],
        "source": None if spec.egress is None else str(ipaddress.ip_address(spec.egress)),
        "version": VERSION,
    }


def _tls(spec: DataServerSpec, suites: Sequence[str]) -> dict[str, Any] | None:
    """Return the TLS variables of a template, or None without encryption."""
    if spec.encryption == "none":
        return None
    return {
        "side": credentials.SIDES[spec.role],
        "certificate": credentials.CERTIFICATE,
        "key": credentials.KEY,
        "peer": credentials.PEER,
        "peer_name": credentials.peer_name(spec),
        "ciphersuites": ":".join(suites),
    }


def _endpoint(endpoint: Endpoint | None) -> dict[str, Any]:
    """Return an endpoint with an IP address. Names have been resolved before."""
    if endpoint is None or endpoint.address is None or not 1 <= endpoint.port <= 65535:
        raise S2DSException(f"an IP address and a port are required, not {show(str(endpoint))}")
    return {"address": endpoint.host, "port": endpoint.port, "endpoint": str(endpoint)}


def _read(path: str, role: str) -> str:
    check_template(path, role)
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read()
    except (OSError, UnicodeError) as error:
        raise S2DSException(f"the template {path} cannot be read: {_readable(error)}") from None


def _checked_values(value: Any) -> Any:
    """Return values after checking that each one is a single word, whatever the template does with it."""
    if isinstance(value, Mapping):
        return {key: _checked_values(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_checked_values(item) for item in value]
    if value is None or isinstance(value, (bool, int)) or (isinstance(value, str) and _WORD.fullmatch(value)):
        return value
    raise S2DSException(f"the value {show(value)} is not allowed in a configuration")


def _checked(value: Any) -> Any:
    """Return the value of an expression in a template if it is allowed in a configuration."""
    if isinstance(value, Undefined):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _WORDS.fullmatch(value):
        return value
    raise S2DSException(f"the value {show(value)} is not allowed in a configuration")


def _readable(error: BaseException) -> str:
    """Return the message of an error as one line, shortened if it is too long."""
    text = " ".join(str(getattr(error, "message", None) or error).split())
    return text if len(text) <= 300 else text[:297] + "..."
