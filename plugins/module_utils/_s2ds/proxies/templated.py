# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Common parts of proxies that are programs of the distribution and are configured by a template."""

from __future__ import annotations

import os
from typing import Any, ClassVar, Iterable, Mapping, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.capabilities import PROXIES
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException, ValueRefused
from ansible_collections.scistream.gateway.plugins.module_utils._common.rate import others
from ansible_collections.scistream.gateway.plugins.module_utils._common.values import check_number
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds import credentials, programs
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.layout import Layout
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies import rendering
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.program_version import (
    is_older,
    version_of,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.proxy import Proxy, RunOnce
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import DataServerSpec

# Timers of the programs are signed 32-bit integers in milliseconds, which is a little more than 24 days.
MAX_SECONDS = 24 * 86400
_AUTO = "auto"


class TemplatedProxy(Proxy):
    """A proxy whose configuration is rendered from a template and checked by the program.

    Attributes:
        paths: Settings that are paths, with their defaults.
        numbers: Settings that are integers, each with its default, minimum and maximum.
        flags: Settings that are booleans, with their defaults.
        rate_directives: Words that a configuration must contain if the rate is limited.
        version_arguments: Arguments with which the program reports its version.
    """

    verifies = True
    paths: ClassVar[Mapping[str, str]]
    numbers: ClassVar[Mapping[str, Sequence[int]]]
    flags: ClassVar[Mapping[str, bool]] = {}
    rate_directives: ClassVar[Sequence[str]] = ()
    version_arguments: ClassVar[Sequence[str]] = ("-v",)

    def __init__(self, layout: Layout, settings: Mapping[str, Any], contained: bool = False) -> None:
        option = f"proxies.{self.name}.settings"
        names = sorted(self.setting_names())
        unknown = sorted(set(settings) - set(names))
        if unknown:
            raise ValueRefused(option, unknown, f"the settings are {', '.join(names)}")
        checked: dict[str, Any] = {}
        for name, (default, low, high) in self.numbers.items():
            checked[name] = check_number(f"{option}.{name}", settings.get(name, default), low, high)
        for name, path in self.paths.items():
            checked[name] = _check_path(f"{option}.{name}", settings.get(name, path), path)
        for name, flag in self.flags.items():
            checked[name] = settings.get(name, flag)
            if not isinstance(checked[name], bool):
                raise ValueRefused(f"{option}.{name}", checked[name], "must be true or false")
        if self._encrypts():
            checked["cipher"] = settings.get("cipher", _AUTO)
            if checked["cipher"] not in (_AUTO, *credentials.SUITES):
                allowed = ", ".join((_AUTO, *credentials.SUITES))
                raise ValueRefused(f"{option}.cipher", checked["cipher"], f"must be one of {allowed}")
        super().__init__(layout, checked, contained)

    @classmethod
    def setting_names(cls) -> Iterable[str]:
        """Return the names of the settings."""
        return {*cls.paths, *cls.numbers, *cls.flags, *(["cipher"] if cls._encrypts() else [])}

    @classmethod
    def _encrypts(cls) -> bool:
        return "tls" in PROXIES[cls.name].encryptions

    @property
    def suites(self) -> Sequence[str]:
        """The cipher suites that it may use."""
        suite = credentials.SUITES.get(self.settings.get("cipher", _AUTO))
        return [suite] if suite else list(credentials.SUITES.values())

    @property
    def role_name(self) -> str:
        """The role that installs this proxy."""
        return f"scistream.gateway.{self.name}"

    @property
    def template(self) -> str:
        """Path of the template on this gateway."""
        return os.path.join(self.layout.template_dir, f"{self.config}.j2")

    @property
    def program(self) -> str:
        """Path of the program, or its name in an image."""
        if self.contained:
            return self.paths["program"]
        return programs.find(self.settings["program"], self.role_name)

    def check(self, spec: DataServerSpec) -> None:
        """Also refuse to continue if something is not installed."""
        super().check(spec)
        if spec.rate is not None:
            self.template_rate(spec, spec.rate)
        rendering.check_jinja2()
        rendering.check_template(self.template, self.role_name)
        if not self.contained:
            program = programs.find(self.settings["program"], self.role_name)
            if spec.rate is not None:
                self._check_rate(program)

    def _check_rate(self, program: str) -> None:
        """Refuse a program that is too old to limit the rate. In a container, only the check of the files finds out."""
        minimum = self.capabilities.limits_rate_since
        version = version_of(program, self.version_arguments) if minimum else None
        if version and is_older(version, minimum):
            raise S2DSException(f"{self.cannot_limit(minimum)}, and {program} is version {version}; {self._instead()}")

    def cannot_limit(self, minimum: str) -> str:
        """Return that only newer versions can limit the rate."""
        return f"rate: the proxy {self.name} cannot limit the rate of a session before version {minimum}"

    def _instead(self) -> str:
        return f"omit rate, install a newer version, or choose {others(self.name)}"

    def files(self, spec: DataServerSpec) -> dict[str, str]:
        """Return the configuration."""
        values = {
            **rendering.template_values(spec, self.suites),
            "settings": self.template_settings(spec),
            "rate": None if spec.rate is None else self.template_rate(spec, spec.rate),
        }
        text = rendering.render(self.template, self.role_name, values)
        unused = [name for name in (credentials.CERTIFICATE, credentials.PEER) if values["tls"] and name not in text]
        if unused:
            # A template without TLS, for example an old one, would silently forward unencrypted.
            raise S2DSException(
                f"the template {self.template} cannot be used with encryption {spec.encryption}: its output "
                f"does not contain {' and '.join(unused)}; use the variable tls in it"
            )
        if values["tls"] and self.settings.get("cipher", _AUTO) != _AUTO and values["tls"]["ciphersuites"] not in text:
            raise S2DSException(
                f"the template {self.template} cannot be used with the setting cipher: its output does not contain "
                f"{values['tls']['ciphersuites']}; use the variable tls.ciphersuites in it"
            )
        unlimited = [word for word in self.rate_directives if spec.rate is not None and word not in text]
        if unlimited:
            raise S2DSException(
                f"the template {self.template} cannot be used with a rate: its output does not contain "
                f"{' and '.join(unlimited)}; use the variable rate in it, run the role {self.role_name} if it is that "
                "of an earlier version, or omit rate"
            )
        return {self.config: text}

    def template_settings(self, spec: DataServerSpec) -> dict[str, Any]:
        """Return the settings for the template, with actual values instead of automatic ones."""
        return dict(self.settings)

    def template_rate(self, spec: DataServerSpec, rate: int) -> dict[str, int]:
        """Return the rate for the template.

        Args:
            spec: The specification.
            rate: Its rate in bits per second.

        Raises:
            S2DSException: The proxy cannot limit the rate to this value.
        """
        raise NotImplementedError

    def verify(self, directory: str, run: RunOnce) -> None:
        """Have the program check a configuration."""
        status, output = run(self.check_command(), directory)
        if status:
            self.refuse(output)

    def check_command(self) -> list[str]:
        """Return the command that checks the configuration in its working directory."""
        raise NotImplementedError

    def refuse(self, output: Sequence[str]) -> None:
        """Raise the error for a configuration that the program rejects.

        Args:
            output: Its output.
        """
        raise S2DSException(
            f"{self.name} rejects the configuration from the template {self.template}: {programs.one_line(output)}"
        )


def automatic(wanted: int, listeners: int) -> int:
    """Return the number of threads or processes: the setting, or as many as can be busy on this host."""
    return wanted or max(1, min(listeners, len(os.sched_getaffinity(0))))


def _check_path(option: str, value: Any, default: str) -> str:
    """Return a path after checking that it is absolute, or the default."""
    if value == default:
        return default
    plain = isinstance(value, str) and all(char.isalnum() or char in "/._+-" for char in value)
    if not plain or not value.startswith("/") or ".." in value.split("/"):
        raise ValueRefused(option, value, "must be an absolute path of letters, digits and / . _ + -")
    return str(value)
