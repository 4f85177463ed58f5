# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Takes the pictures of the README: the page of a real demo, and the status page of a real gateway with streams."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import yaml

from ansible_collections.scistream.gateway.tests.integration.s2cs.service import PYTHON, Service, serving
from ansible_collections.scistream.gateway.tests.integration.web.browser import Browser
from ansible_collections.scistream.gateway.tests.integration.web.conftest import page

COLLECTION = Path(__file__).resolve().parents[2]
WIDTH = 1120
MAX_BYTES = 200_000
# Long enough for a plot of throughput.
TRAFFIC_SECONDS = 100.0
GATEWAYS = ("gw-aps", "gw-alcf")
# Hosts of the applications.
INSTRUMENT, ANALYSIS = "127.0.0.4", "127.0.0.5"
# Consumers answer with one byte for so many.
_BACK = 500
# Bytes per second towards the consumer, for each third of a period of the time.
STREAMS = {
    "tomography": (60e6, 90e6, 75e6),
    "ptychography": (40e6, 15e6, 30e6),
    "steering": (2e5, 2e5, 2e5),
}
_PERIOD, _TICK = 45.0, 0.02
_DEMO_LIVE = "document.getElementById('updated')?.textContent.startsWith('as of ')"


class Place:
    """A directory with a home and two gateways on this machine, named as in the documentation."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.demo = directory / ".cache" / "scistream-demo"
        hosts = (COLLECTION / "inventories/local/hosts.yml").read_text(encoding="utf-8")
        for short, name in zip(("gw-a:", "gw-b:"), GATEWAYS, strict=True):
            assert short in hosts
            hosts = hosts.replace(short, f"{name}:")
        (directory / "hosts.yml").write_text(hosts, encoding="utf-8")

    def play(self, playbook: str, *arguments: str) -> str:
        """Run a playbook, and return what it shows."""
        command = ["ansible-playbook", f"scistream.gateway.{playbook}", "-i", "hosts.yml", *arguments]
        env = {**os.environ, "HOME": str(self.directory), "ANSIBLE_NOCOLOR": "1"}
        done = subprocess.run(
            command, cwd=self.directory, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"{done.stdout}{done.stderr}\nThis failed: {' '.join(command)}")
        return done.stdout


def take(browser: Browser, target: Path) -> None:
    """Write the whole page that is open to a file."""
    browser.device(WIDTH, browser.value("Math.ceil(document.documentElement.getBoundingClientRect().height)"))
    # Pages draw anew when they get another size.
    time.sleep(0.5)
    browser.picture(target)
    size = target.stat().st_size
    if size > MAX_BYTES:
        sys.exit(f"{target} has {size} bytes, more than {MAX_BYTES}")
    print(f"{target}: {size} bytes")


def show_status(place: Place, browser: Browser, target: Path) -> None:
    """Open streams that carry data, and take a picture of the status page of the consumer's gateway."""
    with contextlib.ExitStack() as stack:
        producers = {name: stack.enter_context(_producer(rates)) for name, rates in STREAMS.items()}
        described = [
            {
                "name": name,
                "producer": {"gateway": GATEWAYS[0], "listeners": [address]},
                "consumer": {"gateway": GATEWAYS[1], "clients": [ANALYSIS]},
            }
            for name, address in producers.items()
        ]
        (place.directory / "streams.yml").write_text(yaml.safe_dump({"streams": described}), encoding="utf-8")
        shown = place.play("stream_open", "-e", "@streams.yml")
        stack.callback(place.play, "stream_release", "-e", "@streams.yml")
        listeners = re.findall(r"consumer connects to (\S+)", shown)
        assert len(listeners) == len(STREAMS), shown
        service = stack.enter_context(serving(place.demo / GATEWAYS[1] / "etc/scistream/s2cs.json"))
        address = stack.enter_context(_web_server(service))
        for listener in listeners:
            stack.enter_context(_consumer(listener))
        browser.device(WIDTH, 900)
        browser.open(f"http://{address}/")
        time.sleep(TRAFFIC_SECONDS)
        take(browser, target)


@contextlib.contextmanager
def _web_server(service: Service) -> Iterator[str]:
    (service.programs / "status.html").write_text(page(), encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as free:
        host, port = free.getsockname()
    address = f"{host}:{port}"
    command = [PYTHON, "-IS", service.program, "web", "--socket", service.socket, "--listen", address]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), socket.create_connection((host, port), 5):
                break
            assert process.poll() is None and time.monotonic() < deadline, "the web server does not listen"
            time.sleep(0.1)
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


@contextlib.contextmanager
def _producer(rates: tuple[float, ...]) -> Iterator[str]:
    """Listen, and send to the one who stays connected, at rates that change."""
    ended = threading.Event()

    def send(connection: socket.socket) -> None:
        began = time.monotonic()
        with contextlib.suppress(OSError), connection:
            while not ended.wait(_TICK):
                phase = (time.monotonic() - began) % _PERIOD / _PERIOD
                connection.sendall(bytes(int(rates[int(phase * len(rates))] * _TICK)))

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _peer = server.accept()
                for action in (send, _receive):
                    threading.Thread(target=action, args=(connection,), daemon=True).start()

    with socket.create_server((INSTRUMENT, 0)) as server:
        threading.Thread(target=accept, daemon=True).start()
        try:
            yield "{}:{}".format(*server.getsockname())
        finally:
            ended.set()


@contextlib.contextmanager
def _consumer(listener: str) -> Iterator[None]:
    """Receive all that comes, and answer."""
    host, port = listener.rsplit(":", 1)
    with socket.create_connection((host, int(port)), 20, (ANALYSIS, 0)) as connection:
        threading.Thread(target=_receive, args=(connection, True), daemon=True).start()
        yield
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


def _receive(connection: socket.socket, answers: bool = False) -> None:
    owed = 0
    with contextlib.suppress(OSError):
        while part := connection.recv(1 << 20):
            owed += len(part)
            if answers and owed > _BACK:
                connection.sendall(bytes(owed // _BACK))
                owed %= _BACK


def main() -> None:
    """Take both pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="directory for demo.png and status.png")
    parser.add_argument("--size", default="2GiB", help="what the demo sends (%(default)s)")
    options = parser.parse_args()
    options.output.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="scistream-pictures-") as scratch:
        place = Place(Path(scratch))
        place.play("demo", "-e", f"demo_size={options.size}")
        browser = Browser(Path(scratch, "browser"))
        try:
            browser.hide_scrollbars()
            browser.device(WIDTH, 900)
            browser.open((place.demo / "demo.html").as_uri(), _DEMO_LIVE)
            take(browser, options.output / "demo.png")
            show_status(place, browser, options.output / "status.png")
        finally:
            browser.close()


if __name__ == "__main__":
    main()
