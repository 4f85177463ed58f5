# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Metrics as Prometheus itself takes them: its own check of their form, and a scrape."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service import metrics
from ansible_collections.scistream.gateway.tests.integration.web.conftest import Site
from ansible_collections.scistream.gateway.tests.unit.plugins.module_utils._s2cs.service.samples import (
    HOSTILE,
    NOW,
    counters,
    dead,
    info,
    session,
)

CONFIGURATION = """
global: {scrape_interval: 1s}
scrape_configs: [{job_name: scistream, static_configs: [{targets: ["%s"]}]}]
"""


def program(name: str) -> str:
    found = shutil.which(name)
    assert found, f"there is no {name}: install the package prometheus"
    return found


@pytest.mark.parametrize(
    "answer",
    [
        None,
        info(),
        info(session(0), dead(1), session(2, rate=10**9, counters=counters(7, last_byte=None))),
        info(*(session(number, labels={"stream": name}, owner=name) for number, name in enumerate(HOSTILE))),
    ],
    ids=["down", "none", "three", "hostile"],
)
def test_promtool_has_nothing_to_say(answer: dict[str, Any] | None) -> None:
    done = subprocess.run(
        [program("promtool"), "check", "metrics"],
        input=metrics.render(answer, NOW),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


class Prometheus:
    """A server that scrapes one address."""

    def __init__(self, directory: Path, target: str) -> None:
        with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as chosen:
            self.address = f"127.0.0.1:{chosen.getsockname()[1]}"
        configuration = directory / "prometheus.yml"
        configuration.write_text(CONFIGURATION % target)
        self.process = subprocess.Popen(
            [
                *(program("prometheus"), f"--config.file={configuration}", f"--storage.tsdb.path={directory / 'data'}"),
                *(f"--web.listen-address={self.address}", "--log.level=error"),
            ],
            stdin=subprocess.DEVNULL,
        )

    def query(self, expression: str) -> list[Any]:
        """Return what an expression is worth; nothing while the server starts."""
        question = urllib.parse.urlencode({"query": expression})
        try:
            with urllib.request.urlopen(f"http://{self.address}/api/v1/query?{question}", timeout=10) as answer:
                found: list[Any] = json.load(answer)["data"]["result"]
                return found
        except OSError:
            return []

    def until(self, expression: str) -> list[Any]:
        """Wait until an expression is worth something."""
        end = time.monotonic() + 60
        while not (found := self.query(expression)):
            assert time.monotonic() < end, f"Prometheus never had {expression}: {self.query('up')}"
            time.sleep(0.1)
        return found


@pytest.fixture
def prometheus(tmp_path: Path, site: Site) -> Iterator[Prometheus]:
    made = Prometheus(tmp_path, f"{site.host}:{site.port}")
    yield made
    made.process.terminate()
    made.process.wait(30)


def test_a_real_prometheus_scrapes_them(site: Site, prometheus: Prometheus) -> None:
    site.show(*(session(number, labels={"stream": name}) for number, name in enumerate(HOSTILE)), dead(20))
    # The names of streams, as the documentation tells to add them.
    moved = 'scistream_session_bytes_total{direction="to_consumer"}'
    found = prometheus.until(f"{moved} * on(uid, role) group_left(stream) scistream_session_info")
    assert {one["metric"]["stream"] for one in found} == {
        *(name if len(name) <= 120 else f"{name[:119]}…" for name in HOSTILE),
        "tomography-20",
    }
    assert {int(one["value"][1]) for one in found} == {1 << 30}
    assert len(prometheus.query('scistream_session_health{health!~"ok|waiting|busy"}')) == 1
    assert prometheus.query("up")[0]["value"][1] == "1"
    # Nothing was sent twice or out of order.
    assert prometheus.query("scrape_samples_scraped - scrape_samples_post_metric_relabeling")[0]["value"][1] == "0"
