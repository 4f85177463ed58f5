# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images of the proxies, made of the distribution's packages, in the place of the official ones.

Like the official images they have the programs in the search path, a shell, an entry point that is not the program
and a stop signal of their own. They differ in this: all have one root file system, with Python in it; haproxy has no
user of its own (sessions never run as an image's user); and nginx has its stream module as a file that the setting
``stream_module`` must name, where the official image has it built in.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from .engine import BedError, answers, docker, say
from .images import REPOSITORY, Image, ensure

ROLES = Path(__file__).resolve().parents[2] / "roles"
FORWARDER = ROLES / "s2ds" / "files" / "s2ds"
DOCKERFILES = ROLES / "docker" / "files"
STREAM_MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"

BASE = Image(
    "proxies",
    ("haproxy", "libnginx-mod-stream", "nginx-light", "python3", "stunnel4"),
    (
        # Where the official image of HAProxy has it.
        'ln -s ../../sbin/haproxy "$1/usr/local/sbin/haproxy"',
        "printf '#!/bin/sh\\nexec sleep 1000000\\n' > \"$1/docker-entrypoint.sh\"",
        'chmod 0755 "$1/docker-entrypoint.sh"',
        'mkdir -p "$1/usr/local/lib/scistream"',
    ),
)
# The stop signal of each and what it would run by itself.
_PROGRAMS = {
    "haproxy": ("SIGUSR1", ["haproxy", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]),
    "nginx": ("SIGQUIT", ["nginx", "-g", "daemon off;"]),
    "stunnel": ("SIGTERM", ["stunnel"]),
    "s2ds": ("SIGTERM", ["python3", "-I", "/usr/local/lib/scistream/s2ds"]),
}


def need_images() -> None:
    """See that the engine answers and has what the images are made of; the rest is quick.

    Raises:
        BedError: It does not.
    """
    if not answers() or not docker("image", "ls", "--quiet", BASE.tag):
        raise BedError("there is no Docker engine that answers and has the images of the proxies")


def images(cache: Path, mirror: str | None = None) -> dict[str, str]:
    """Have the images in the engine; returns their tags by the names of the proxies."""
    base = ensure(BASE, cache, mirror)
    return {name: _image(base, name) for name in _PROGRAMS}


def _image(base: str, name: str) -> str:
    signal, command = _PROGRAMS[name]
    changes = ('ENTRYPOINT ["/docker-entrypoint.sh"]', f"CMD {json.dumps(command)}")
    files = [path for path in sorted(FORWARDER.rglob("*.py")) if name == "s2ds"]
    recipe = json.dumps([base, signal, changes, [path.read_text() for path in files]])
    tag = f"{REPOSITORY}/{name}:{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    if docker("image", "ls", "--quiet", tag):
        return tag
    say(f"making {tag}")
    container = docker("create", "--stop-signal", signal, base, "/bin/true")
    try:
        if files:
            docker("cp", str(FORWARDER), f"{container}:/usr/local/lib/scistream/")
        docker("commit", *(word for change in changes for word in ("--change", change)), container, tag)
    finally:
        docker("rm", container)
    return tag


def built(name: str, cache: Path, mirror: str | None = None) -> str:
    """Have an image as its Dockerfile makes it, but of what the others are made of; returns its tag.

    Args:
        name: ``s2ds``, which takes nothing but files of the collection, or ``stunnel``, which installs a package.
        cache: Where archives of images are kept.
        mirror: Package mirror for what it is made of.
    """
    base = ensure(BASE, cache, mirror)
    dockerfile = DOCKERFILES / f"{name}.Dockerfile"
    files = [dockerfile, *(path for path in sorted(FORWARDER.rglob("*.py")) if name == "s2ds")]
    recipe = json.dumps([base, [path.read_text() for path in files]])
    tag = f"{REPOSITORY}/{name}-built:{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    if not docker("image", "ls", "--quiet", tag):
        say(f"building {tag}")
        options = ["--quiet", "--tag", tag, "--build-arg", f"BASE={base}"]
        if name == "s2ds":
            docker("build", *options, "--network", "none", "--file", str(dockerfile), str(FORWARDER.parent))
        else:
            docker("build", *options, "--network", "host", "-", text=dockerfile.read_text())
    return tag
