# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ways to a gateway: its service, its program, a module; and all gateways at once, or in turn."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.tests.integration.s2cs.service import Service, serving
from ansible_collections.scistream.gateway.tests.integration.s2uc.gateways import THREE, Site, ask, row


class Program:
    """A program s2cs that writes down how it is called."""

    def __init__(self, site: Site, directory: Path) -> None:
        self._calls = directory / "calls"
        self._path = directory / "s2cs"
        self.replace(f'exec {site.directory}/gw-a/usr/local/lib/scistream/s2cs "$@"')

    def replace(self, text: str) -> None:
        self._path.write_text(f"#!/bin/sh\necho $1 >>{self._calls}\n{text}\n")
        self._path.chmod(0o755)

    @property
    def variables(self) -> dict[str, Any]:
        """Extra variables that have S2UC use it."""
        socket = "{{ s2cs_root }}/run/scistream/s2cs.sock"
        return {"scistream_service": {"program": str(self._path), "socket": socket}}

    def calls(self) -> list[str]:
        """Return the commands since the last time."""
        found = self._calls.read_text().split() if self._calls.exists() else []
        self._calls.unlink(missing_ok=True)
        return found

    def remove(self) -> None:
        self._path.unlink()


@pytest.fixture
def program(site: Site, tmp_path: Path) -> Program:
    return Program(site, tmp_path)


@contextlib.contextmanager
def service(site: Site, gateway: str) -> Iterator[Service]:
    with serving(site.directory / gateway / "etc/scistream/s2cs.json") as started:
        link = site.directory / gateway / "run/scistream/s2cs.sock"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(started.socket)
        try:
            yield started
        finally:
            link.unlink()


def test_the_service_carries_out_what_it_can(site: Site, producer: int, program: Program) -> None:
    streams = [site.stream("served", producer)]
    with service(site, "gw-a") as served, service(site, "gw-b"):
        opened = site.ok("stream_open", streams=streams, **program.variables)
        assert opened.calls("gw-a") == opened.calls("gw-b") == THREE
        # REQ, then HELLO and UPDATE in one call.
        assert program.calls() == ["call"] * 4
        assert ask(site.listener(opened)) == b"PHOTONS"
        assert len(served.result("info", {})["sessions"]) == 1
        assert site.ok("stream_open", streams=streams, **program.variables).changed == 0
        assert site.ok("stream_open", "--check", streams=streams, **program.variables).changed == 0
        refused = site.play("stream_open", streams=[{**streams[0], "num_conn": 2}], **program.variables)
        assert refused.status != 0 and "num_conn is 1, requested 2" in refused.message
        program.calls()
        assert row(site.ok("stream_status", **program.variables), "served")[1:3] == ["streaming", "ok"]
        # There is none on the third.
        assert sorted(program.calls()) == ["call", "call", "direct"]
    # Without the service, the program does the same to the same sessions.
    assert site.ok("stream_open", streams=streams, **program.variables).changed == 0
    # A HELLO would change nothing.
    assert program.calls() == ["direct"] * 4
    assert site.ok("stream_release", streams=streams).changed == 2
    assert site.sessions() == []


def test_a_service_that_does_not_answer_holds_up_nothing(site: Site, program: Program) -> None:
    streams = [site.stream("unserved")]
    with service(site, "gw-a") as served:
        served.frontend.terminate()
        served.frontend.wait(60)
        assert site.ok("stream_open", streams=streams, **program.variables).calls("gw-a") == THREE
        # It is asked once.
        assert sorted(program.calls()) == ["call", "direct", "direct"]
        site.ok("stream_release", streams=streams)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("""echo '{"protocol": 1, "error": {"code": "other", "msg": "no"}}'""", id="of another version"),
        pytest.param("exit 70", id="broken"),
        pytest.param("echo nonsense", id="garbled"),
        pytest.param("", id="missing"),
    ],
)
def test_a_module_replaces_the_program(site: Site, program: Program, text: str) -> None:
    streams = [site.stream("module")]
    if text:
        program.replace(f"cat >/dev/null\n{text}")
    else:
        program.remove()
    opened = site.ok("stream_open", "--forks", "5", streams=streams, **program.variables)
    # The gateways' own programs were not called; each call of this one was in vain, and the last one.
    assert opened.calls("gw-a") == THREE and program.calls() == (["direct"] * 2 if text else [])
    site.ok("stream_release", streams=streams)


def test_a_program_without_sequences_gets_one_message_after_the_other(site: Site, program: Program) -> None:
    streams = [site.stream("older")]
    refusal = '{"protocol": 1, "error": {"code": "bad_request", "msg": "action: sequence is not allowed"}}'
    program.replace(
        "request=$(cat)\n"
        f"case $request in *'\"sequence\"'*) echo '{refusal}'; exit;; esac\n"
        f'printf %s "$request" | {site.directory}/gw-a/usr/local/lib/scistream/s2cs "$@"'
    )
    opened = site.ok("stream_open", streams=streams, **program.variables)
    assert opened.calls("gw-a") == opened.calls("gw-b") == THREE
    assert program.calls() == ["direct"] * 8
    site.ok("stream_release", streams=streams)


def test_a_refused_hello_undoes_the_update_of_the_other_gateway(site: Site) -> None:
    refused = site.stream("refused", producer={"gateway": "gw-a", "listeners": ["10.9.9.9:7000"]})
    outcome = site.play("stream_open", "-vvv", streams=[site.stream("allowed"), refused])
    assert outcome.status != 0 and "10.9.9.9" in outcome.message and "PRIVATE KEY" not in outcome.output
    assert outcome.calls("gw-a") == [*THREE[:2], "undo"] and outcome.calls("gw-b") == [*THREE, "undo"]
    assert site.sessions() == []


def test_more_gateways_than_processes(site: Site, producer: int) -> None:
    streams = [site.stream("turns", producer)]
    opened = site.ok("stream_open", "--forks", "1", streams=streams)
    assert opened.calls("gw-a") == opened.calls("gw-b") == THREE
    assert ask(site.listener(opened)) == b"PHOTONS"
    assert site.ok("stream_open", streams=streams).changed == 0
    wrong = site.stream("wrong", consumer={"gateway": "gw-b", "clients": ["10.0.0.0/8"]})
    failed = site.play("stream_open", "--forks", "1", streams=[*streams, wrong])
    assert failed.status != 0 and failed.calls("gw-a") == [*THREE, "undo"]
    assert site.sessions() == ["gw-a/producer", "gw-b/consumer"]
