# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real browser without a window, driven by its own protocol over two pipes."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

SECONDS = 60.0


class Browser:
    """Chromium with one tab.

    Args:
        directory: For its profile.

    Attributes:
        complaints: What pages wrote to the console, and errors that nobody caught.
    """

    def __init__(self, directory: Path) -> None:
        program = shutil.which("chromium")
        assert program, "these tests require a browser: install the package chromium"
        self._in, its_out = os.pipe()
        its_in, self._out = os.pipe()
        # The browser's pipes are its descriptors 3 and 4. Root has no sandbox to be in; the pages are all ours.
        self._process = subprocess.Popen(
            [
                *("bash", "-c", f'exec "$@" 3<&{its_in} 4>&{its_out}', "bash"),
                *(program, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"),
                *("--no-first-run", "--disable-extensions", f"--user-data-dir={directory}", "about:blank"),
            ],
            env={**os.environ, "HOME": str(directory)},
            pass_fds=(its_in, its_out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(its_in)
        os.close(its_out)
        self._numbers = itertools.count(1)
        self._rest = b""
        self.complaints: list[str] = []
        self._session = ""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._call(f"{domain}.enable")

    def close(self) -> None:
        """End the browser."""
        with contextlib.suppress(OSError):
            os.close(self._out)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)

    def device(self, width: int, height: int, dark: bool = False) -> None:
        """Be a screen of some size, and of somebody who likes it light or dark."""
        self._call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call(
            "Emulation.setEmulatedMedia", features=[scheme, {"name": "prefers-reduced-motion", "value": "reduce"}]
        )

    def hide_scrollbars(self) -> None:
        """Show pages as wide as the screen, for pictures."""
        self._call("Emulation.setScrollbarsHidden", hidden=True)

    def open(self, address: str, ready: str = "document.getElementById('updated')?.textContent === 'live'") -> None:
        """Go to a page, and wait until it shows data."""
        self._call("Page.navigate", url=address)
        self.until(ready)

    def leave(self) -> None:
        """Go to an empty page."""
        self._call("Page.navigate", url="about:blank")

    def value(self, expression: str) -> Any:
        """Return what an expression in the page is worth."""
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, expression: str) -> None:
        """Wait until an expression in the page is true."""
        end = time.monotonic() + SECONDS
        while not self.value(expression):
            assert time.monotonic() < end, f"never: {expression}; the page says {self.value('document.body.innerText')}"
            time.sleep(0.05)

    def picture(self, path: Path) -> None:
        """Write what can be seen of the whole page to a file."""
        data = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer["error"])
                found: dict[str, Any] = answer["result"]
                return found
            self._note(answer)

    def _note(self, event: dict[str, Any]) -> None:
        parameters = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(parameters["exceptionDetails"]))
        elif event.get("method") == "Log.entryAdded":
            self.complaints.append(parameters["entry"]["text"])
        elif event.get("method") == "Runtime.consoleAPICalled":
            self.complaints.append(json.dumps(parameters["args"]))

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._in], [], [], SECONDS)
            assert ready, "the browser does not answer"
            part = os.read(self._in, 1 << 20)
            assert part, "the browser has ended"
            self._rest += part
        text, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(text)
        return found
