# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A proxy more, as a site would add its own: what docs/adding-a-proxy.md says is enough, and nothing else is touched.

The change is beside this file: the new files in ``change``, and the lines here.
"""

from __future__ import annotations

import difflib
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import COLLECTION
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import Application, ask, connect, pair
from ansible_collections.scistream.gateway.tests.integration.s2uc.gateways import Site, row

CHANGE = Path(__file__).parent / "change"
#: Lines that the change adds to files that there are, each with the line that it goes after.
LINES = {
    "plugins/module_utils/_common/capabilities.py": (
        '    "stunnel": ProxyCapabilities(f"scistream/stunnel:{VERSION}", encryptions=("tls",), '
        "restricts_clients=False),",
        '    "socat": ProxyCapabilities(encryptions=("none",)),',
    ),
    "plugins/module_utils/_s2ds/proxies/loader.py": ("        s2ds,", "        socat,"),
}
NETWORK = "127.0.0.0/8"


def shipped(root: Path) -> dict[str, str]:
    """Return the files of a collection that a gateway or a control node uses."""
    parts = ("meta", "playbooks", "plugins", "roles")
    paths = [path for part in parts for path in (root / part).rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): path.read_text() for path in paths if path.suffix != ".pyc"}


def changed(collection: Path) -> None:
    """Make a copy of the collection, and the change in it."""
    for name in ("meta", "playbooks", "plugins", "roles"):
        shutil.copytree(COLLECTION / name, collection / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(COLLECTION / "galaxy.yml", collection)
    for path in CHANGE.rglob("*"):
        new = collection / path.relative_to(CHANGE)
        if path.is_file() and path.suffix != ".pyc":
            assert not new.exists(), f"{new} is there already"
            new.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, new)
    for name, (before, line) in LINES.items():
        text = (collection / name).read_text()
        assert text.count(f"\n{before}\n") == 1, f"{name} has no single line {before!r}"
        (collection / name).write_text(text.replace(f"\n{before}\n", f"\n{before}\n{line}\n"))


class ChangedSite(Site):
    """Gateways that are provisioned from, and used by, a collection with the change."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.collections = directory / "collections"
        self.collection = self.collections / "ansible_collections/scistream/gateway"
        changed(self.collection)

    def environment(self) -> dict[str, str]:
        """Return the environment of every run: there is no other collection of this name in it."""
        found = {key: value for key, value in super().environment().items() if key != "PYTHONPATH"}
        return {**found, "ANSIBLE_COLLECTIONS_PATH": str(self.collections)}

    def host(self, name: str) -> dict[str, Any]:
        """Return the variables of a gateway that offers the new proxy, and no other."""
        clients = {role: [NETWORK] for role in ("producer", "consumer")}
        return {**super().host(name), "s2cs_proxies": {"socat": None}, "s2cs_clients": clients}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChangedSite]:
    """Gateways with the proxy that was added."""
    site = ChangedSite(tmp_path_factory.mktemp("fifth"))
    site.write("gateways.yml", site.hosts("gw-a", "gw-b"))
    yield site
    if site.sessions():
        uids = {path.name.partition("-")[2] for path in site.directory.glob("*/var/lib/scistream/sessions/*")}
        site.ok("stream_release", uids=sorted(uids))


def test_what_is_touched(site: ChangedSite) -> None:
    before, after = shipped(COLLECTION), shipped(site.collection)
    new = {str(path.relative_to(CHANGE)) for path in CHANGE.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert set(after) - set(before) == new and not set(before) - set(after)
    added = {
        name: [line for line in difflib.ndiff(before[name].splitlines(), after[name].splitlines()) if line[0] in "+-"]
        for name in before
        if before[name] != after[name]
    }
    assert added == {name: [f"+ {line}"] for name, (_before, line) in LINES.items()}
    # One file, one template, one thin role, and these lines.
    assert [name for name in sorted(new) if not name.startswith("roles/socat/")] == [
        "plugins/module_utils/_s2ds/proxies/socat.py"
    ]
    assert [name for name in new if name.endswith(".j2")] == ["roles/socat/files/socat.conf.j2"]
    tasks = (CHANGE / "roles/socat/tasks/main.yml").read_text()
    assert set(re.findall(r"^  ansible\.builtin\.(\S+):", tasks, re.MULTILINE)) == {"import_role"}


def test_the_guide_names_these_places() -> None:
    guide = (COLLECTION / "docs/adding-a-proxy.md").read_text()
    for name in (*LINES, "plugins/module_utils/_s2ds/proxies/NAME.py", "roles/NAME", "tests/integration/fifth_proxy"):
        assert f"`{name}" in guide, name


def test_life_of_a_stream(site: ChangedSite) -> None:
    would = site.ok("gateway", "--check")
    assert would.changed and not (site.directory / "gw-a").exists()
    site.ok("gateway", "--tags", "s2cs,socat")
    assert site.ok("gateway").changed == 0

    with Application("one", f"{site.network}.1") as one, Application("two", f"{site.network}.1") as two:
        streams = [site.stream("fifth", one.port, encryption="none", num_conn=2)]
        refused = site.play("stream_open", streams=[{**streams[0], "encryption": "tls"}])
        assert refused.status and "the proxy socat does not support tls, only none" in refused.message.replace(
            "\n", " "
        )
        assert not site.sessions()

        opened = site.ok("stream_open", streams=streams)
        assert site.sessions() == ["gw-a/producer", "gw-b/consumer"]
        host, port = site.listener(opened)
        listener = f"{host}:{port}"
        with connect(listener) as connection:
            assert ask(connection, b"photons") == b"one:photons"
            assert row(site.ok("stream_status"), "fifth")[2:6:3] == ["ok", "1/1"]

            # Other listeners of the producer: who is connected stays, and who comes now gets there.
            streams[0]["producer"]["listeners"] = [f"{site.network}.1:{two.port}"]
            site.ok("stream_open", streams=streams)
            assert ask(connection, b"more" * 1000) == b"more" * 1000
        with socket.create_connection(pair(listener), 10) as later:
            later.sendall(b"photons")
            later.shutdown(socket.SHUT_WR)
            # What the application still has to say comes through a connection that is closed on one side.
            assert b"".join(iter(lambda: later.recv(100), b"")) == b"two:photons"

        assert site.ok("stream_release", streams=streams).changed == 2
        assert not site.sessions()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(pair(listener), 10)
