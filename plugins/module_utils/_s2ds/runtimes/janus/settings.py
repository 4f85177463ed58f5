# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The section ``janus`` of the policy. It contains the path of the password file, but not the password."""

from __future__ import annotations

import ipaddress
import os
import re
import stat
from dataclasses import dataclass
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException, ValueRefused
from ansible_collections.scistream.gateway.plugins.module_utils._common.values import check_number

_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,252}", re.ASCII)
_KEYS = ("url", "node", "password_file", "profile", "user", "ca", "verify", "timeout")
_NEEDED = ("url", "node", "password_file")


@dataclass(frozen=True)
class JanusSettings:
    """How a gateway reaches its Janus controller.

    Args:
        url: Address of the controller. Plain HTTP is only allowed for this host.
        node: The node of Janus whose containers have the addresses of this gateway.
        password_file: File with the password, readable only by its owner.
        profile: Host profile of the containers.
        user: User of the controller.
        ca: File with CA certificates that verify the controller. If None, those of the system.
        verify: Whether to verify the certificate of the controller.
        timeout: Time limit in seconds for an answer.
    """

    url: str
    node: str
    password_file: str
    profile: str = "scistream"
    user: str = "admin"
    ca: str | None = None
    verify: bool = True
    timeout: int = 60

    def password(self) -> str:
        """Return the password.

        Raises:
            S2DSException: There is none, or users other than its owner can read it.
        """
        path = self.password_file
        try:
            with open(path, encoding="utf-8") as stream:
                info = os.fstat(stream.fileno())
                text = stream.read(4096).rstrip("\r\n")
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise S2DSException(f"janus.password_file: {path} cannot be read: {reason}") from None
        if info.st_uid not in (0, os.geteuid()) or stat.S_IMODE(info.st_mode) & 0o077:
            raise S2DSException(
                f"janus.password_file: {path} must be owned by root or by the user of S2CS, with mode 0600: it "
                "grants control of the container engines of Janus"
            )
        if not text or not text.isprintable():
            raise S2DSException(f"janus.password_file: {path} must contain the password, on one line")
        return text


def parse_settings(key: str, value: Any) -> JanusSettings:
    """Return the section ``janus`` of a policy after checking it.

    Args:
        key: Name of the section, for messages.
        value: Its value.

    Raises:
        ValueRefused: It is invalid.
    """
    if not isinstance(value, dict) or not set(_NEEDED) <= set(value) <= set(_KEYS):
        given = sorted(value) if isinstance(value, dict) else value
        raise ValueRefused(key, given, f"the keys are {', '.join(_KEYS)}; {', '.join(_NEEDED)} are required")
    for name in ("node", "profile", "user"):
        if name in value and (not isinstance(value[name], str) or not _WORD.fullmatch(value[name])):
            raise ValueRefused(
                f"{key}.{name}", value[name], "must be a name of letters, digits, dots, dashes and underscores"
            )
    for name in ("password_file", "ca"):
        path = value.get(name)
        if path is not None and (not isinstance(path, str) or not path.startswith("/") or not path.isprintable()):
            raise ValueRefused(f"{key}.{name}", path, "must be an absolute path")
    if value["password_file"] is None:
        raise ValueRefused(f"{key}.password_file", None, "must be an absolute path")
    if not isinstance(value.get("verify", True), bool):
        raise ValueRefused(f"{key}.verify", value["verify"], "must be true or false")
    check_number(f"{key}.timeout", value.get("timeout", 60), 1, 3600)
    return JanusSettings(**{**value, "url": _url(f"{key}.url", value["url"])})


def _url(key: str, value: Any) -> str:
    try:
        # Takes memory that the service would hold all the time on gateways without Janus.
        from urllib.parse import urlsplit

        parts = urlsplit(value if isinstance(value, str) and value.isprintable() else "")
        good = bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or parts.username is not None or parts.query or parts.fragment or " " in value:
        # The value is not shown, because it may contain the password.
        raise ValueRefused(
            key, "...", "must be an address such as https://janus.example.org:5000, without user and password"
        )
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_here(str(parts.hostname))):
        raise ValueRefused(key, value, "must start with https://; plain http is only allowed for a loopback address")
    return str(value).rstrip("/")


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
