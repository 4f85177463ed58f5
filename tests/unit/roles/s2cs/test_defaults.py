# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the role says and the code behind it says again, because neither can read the other."""

from __future__ import annotations

from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.limits import Limits, parse_limits
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.policy import Policy
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.janus.settings import JanusSettings
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.trusted_paths import PROGRAMS

ROLE = Path(__file__).resolve().parents[4] / "roles/s2cs"
DEFAULTS: dict[str, Any] = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
SPEC: dict[str, Any] = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]
OPTIONS: dict[str, Any] = SPEC["options"]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, (tuple, list)) else value


def _of(kind: Any) -> dict[str, Any]:
    """Return the defaults of a dataclass."""
    found = {}
    for field in fields(kind):
        if field.default is not MISSING:
            found[field.name] = _plain(field.default)
        elif field.default_factory is not MISSING:
            found[field.name] = _plain(field.default_factory())
    return found


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_the_documented_default_is_that_of_the_role(name: str) -> None:
    assert name in DEFAULTS
    documented, real = OPTIONS[name].get("default"), DEFAULTS[name]
    if isinstance(real, str) and "_s2cs_prefix" in real:
        assert documented == real.replace("{{ _s2cs_prefix }}", "<s2cs_root>")
    elif documented is not None or not isinstance(real, (str, dict)):
        assert documented == real


def test_each_default_of_the_role_is_documented() -> None:
    assert set(DEFAULTS) == set(OPTIONS)


def test_the_role_has_the_defaults_of_the_policy() -> None:
    policy = _of(Policy)
    same = [
        *("port_range", "default_runtime", "encryption", "administrators", "hello_timeout", "hello_timeout_max"),
        *("egress", "targets", "clients"),
    ]
    assert {name: DEFAULTS[f"s2cs_{name}"] for name in same} == {name: policy[name] for name in same}
    assert list(DEFAULTS["s2cs_proxies"]) == list(policy["proxies"]) == [policy["default_proxy"]]
    assert f"'{policy['default_proxy']}' if '{policy['default_proxy']}' in " in DEFAULTS["s2cs_default_proxy"]
    assert parse_limits("limits", DEFAULTS["s2cs_limits"]) == policy["limits"]


def test_the_role_documents_the_limits_of_the_policy() -> None:
    documented = OPTIONS["s2cs_limits"]["options"]
    assert {name: documented[name].get("default") for name in ("num_conn", "sessions", "lifetime")} == {
        name: getattr(Limits(), name) for name in ("num_conn", "sessions", "lifetime")
    }


def test_the_role_has_the_defaults_for_janus() -> None:
    documented = OPTIONS["s2cs_janus"]["options"]
    defaults = _of(JanusSettings)
    assert set(documented) == {field.name for field in fields(JanusSettings)}
    assert {name: documented[name].get("default") for name in defaults} == defaults
    text = yaml.safe_load((ROLE / "vars/main.yml").read_text())["_s2cs_janus"]
    # The dictionary in the template; the path of the password is made of a variable.
    given = yaml.safe_load("{" + text[text.index("'profile'") : text.index("} |") + 1].replace(": none", ": null"))
    assert given == defaults


def test_the_role_installs_the_programs_that_root_starts() -> None:
    names = yaml.safe_load((ROLE / "vars/main.yml").read_text())["_s2cs_program_names"]
    files = {path.name for path in (ROLE / "files").glob("*.py")} - {"install.py"}
    assert sorted(names) == sorted(PROGRAMS) == sorted(files)
