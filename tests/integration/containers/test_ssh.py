# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An engine over SSH, as for a gateway without Python; a host whose key is not known is not talked to."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.scistream.gateway.tests.integration.containers.test_standalone import Instance
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import call
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import Application, exchange


def test_an_engine_over_ssh(
    engine: str, images: dict[str, str], tmp_path: Path, application: Application, other_application: Application
) -> None:
    instance = Instance(images, "", tmp_path, "haproxy", engine=engine)
    del instance.options["runtime"]
    try:
        for target, answer in ((application, b"one:hello"), (other_application, b"two:hello")):
            result = instance.run(targets=[target.endpoint])
            assert result["changed"] and result["proxy_container"]["runtime"] == "dockersock"
            assert exchange(instance.listener) == answer
            assert not instance.run(targets=[target.endpoint])["changed"]
        assert instance.run(state="stopped")["changed"]
    finally:
        assert instance.run(state="absent")["changed"]
    assert not instance.left()


def test_a_host_that_is_not_known(engine: str, images: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "home" / ".ssh" / "known_hosts").write_text("")
    instance = Instance(images, "dockersock", tmp_path, "haproxy", engine=engine)
    result = call("proxy_container", {**instance.options, "targets": ["127.0.0.1:9"]})
    assert result.get("failed") and "not found in known_hosts" in result["msg"], result


def test_files_are_not_shared_over_ssh(engine: str, images: dict[str, str], tmp_path: Path) -> None:
    instance = Instance(images, "docker", tmp_path, "haproxy", engine=engine)
    result = call("proxy_container", {**instance.options, "targets": ["127.0.0.1:9"]})
    assert result.get("failed") and "dockersock" in result["msg"], result
