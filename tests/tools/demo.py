# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a demo with containers needs beside the collection: images, and for Janus a controller."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Iterator, Mapping

from layout import COLLECTION, ROOT, Failure

# The runtimes with containers.
CONTAINED = ("docker", "dockersock", "janus")
_JANUS_SECONDS = 240.0


@contextlib.contextmanager
def variables(env: Mapping[str, str], proxy: str, runtime: str) -> Iterator[dict[str, Any]]:
    """Yield the variables that a demo in this runtime takes; what was started for it ends with it."""
    if runtime == "janus":
        with _controller(env) as found:
            yield _under_janus(proxy, found)
    elif runtime in CONTAINED:
        yield {"demo_containers": _in_containers(proxy, images(env, present=True))}
    else:
        yield {}


def images(env: Mapping[str, str], present: bool = False) -> dict[str, str]:
    """Return the images by the names of the proxies; made if they are not there, or an error where they must be."""
    command = [sys.executable, "-m", "testbed", "images", *(["--present"] if present else [])]
    done = subprocess.run(command, cwd=str(ROOT / "tests"), env=env, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise Failure("containers need a Docker engine and images on it: as root, run make images")
    return dict(line.split(": ", 1) for line in done.stdout.splitlines())


def _in_containers(proxy: str, found: Mapping[str, str]) -> dict[str, str]:
    settings = {"image": found.get(proxy, ""), "helper_image": found["s2ds"]}
    return {**settings, **_stream_module(proxy)}


def _stream_module(proxy: str) -> dict[str, str]:
    # In Debian's package it is a file; the official image has it built in.
    return {"stream_module": "/usr/lib/nginx/modules/ngx_stream_module.so"} if proxy == "nginx" else {}


def _under_janus(proxy: str, found: Mapping[str, str]) -> dict[str, Any]:
    return {
        "demo_containers": {"image": found["s2ds" if proxy == "s2ds" else "image"], **_stream_module(proxy)},
        "s2cs_janus": {"url": found["url"], "node": found["node"]},
        "janus_password": found["password"],
    }


@contextlib.contextmanager
def importable() -> Iterator[str]:
    """Yield a scratch directory from which this checkout, tests included, can be imported by its full name."""
    with tempfile.TemporaryDirectory(prefix="scistream-") as scratch:
        link = Path(scratch, COLLECTION)
        link.parent.mkdir(parents=True)
        link.symlink_to(ROOT)
        yield scratch


@contextlib.contextmanager
def _controller(env: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Run the real controller, with a stand-in for Portainer, over the engine of this machine."""
    with importable() as scratch:
        ready = Path(scratch, "controller.json")
        module = ".".join([*COLLECTION.parts, "tests", "janus"])
        process = subprocess.Popen(
            [sys.executable, "-m", module, "--directory", os.path.join(scratch, "janus"), "--ready", str(ready)],
            env={**env, "PYTHONPATH": scratch},
            stdin=subprocess.PIPE,
        )
        try:
            deadline = time.monotonic() + _JANUS_SECONDS
            while not ready.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise Failure("the Janus controller of the tests cannot be had here")
                time.sleep(0.1)
            yield json.loads(ready.read_text(encoding="utf-8"))
        finally:
            # It ends with its input.
            process.communicate()
