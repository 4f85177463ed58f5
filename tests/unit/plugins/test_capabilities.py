# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table of proxies and runtimes, and everything that must match it but cannot import it."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleLookupError

from ansible_collections.scistream.gateway.plugins.lookup import proxies
from ansible_collections.scistream.gateway.plugins.module_utils._common.capabilities import PROXIES, RUNTIMES
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import ENCRYPTIONS, TRANSPORTS
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies import loader
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.proxy import Proxy
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.templated import TemplatedProxy
from ansible_collections.scistream.gateway.plugins.modules import proxy_container

ROOT = Path(__file__).resolve().parents[3]


def _is_proxy(name: str) -> bool:
    """Tell whether a file defines a proxy or a base class of proxies."""
    module = importlib.import_module(f"{loader.__name__.rpartition('.')[0]}.{name}")
    kinds = [kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, Proxy)]
    return any(kind.__module__ == module.__name__ for kind in kinds)


@pytest.mark.parametrize("name", PROXIES)
def test_proxies_match_the_table(name: str) -> None:
    kind = loader.proxy_class(name)
    assert kind.name == name and kind.__module__.endswith(f".proxies.{name}")
    assert set(PROXIES[name].encryptions) <= set(ENCRYPTIONS) and set(PROXIES[name].transports) <= set(TRANSPORTS)
    assert (ROOT / "roles" / name).is_dir()
    assert PROXIES[name].templated == issubclass(kind, TemplatedProxy)
    assert PROXIES[name].program_setting in kind.setting_names()


def test_all_proxies_are_in_the_table() -> None:
    found = [loader.proxy_class(name) for name in PROXIES]
    families = {kind.__module__.rpartition(".")[2] for proxy in found for kind in proxy.__mro__[1:]}
    files = {path.stem for path in (ROOT / "plugins/module_utils/_s2ds/proxies").glob("*.py") if _is_proxy(path.stem)}
    assert files - families == set(PROXIES)


def test_runtimes_match_the_table() -> None:
    assert all(set(runtime.encryptions) <= set(ENCRYPTIONS) for runtime in RUNTIMES.values())


def test_documented_choices_match_the_table() -> None:
    options: dict[str, Any] = yaml.safe_load(proxy_container.DOCUMENTATION)["options"]
    assert options["proxy"]["choices"] == sorted(name for name in PROXIES if PROXIES[name].image)
    assert options["runtime"]["choices"] == [name for name in RUNTIMES if RUNTIMES[name].engine]
    assert set(options["transport"]["choices"]) == set(TRANSPORTS)


def test_the_demo_has_each_runtime() -> None:
    """Proxies are not listed there: the lookup returns them."""
    (play, *_others) = yaml.safe_load((ROOT / "playbooks/demo.yml").read_text())
    allowed = play["tasks"][0]["vars"]["demo_allowed"]
    assert allowed["runtime"]["pattern"].split("|") == list(RUNTIMES)
    assert allowed["runtime"]["text"] == f"{', '.join(list(RUNTIMES)[:-1])} or {list(RUNTIMES)[-1]}"


def test_lookup_returns_the_table() -> None:
    rows: list[dict[str, Any]] = proxies.LookupModule().run([])
    assert [row["name"] for row in rows] == list(PROXIES)
    assert set(rows[0]) == set(yaml.safe_load(proxies.RETURN)["_raw"]["contains"])
    assert proxies.LookupModule().run(["nginx"]) == [row for row in rows if row["name"] == "nginx"]
    assert all(row["encryptions"] == list(PROXIES[row["name"]].encryptions) for row in rows)
    with pytest.raises(AnsibleLookupError, match="there is no proxy 'squid'; there are s2ds, "):
        proxies.LookupModule().run(["squid"])
