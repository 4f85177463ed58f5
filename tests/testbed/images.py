# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The images of the bed, made of the distribution's packages: no image registry is needed.

The hosts of the bed reach no package mirror, so what the roles install is in the images already, or in a directory
that the gateways install from.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from .engine import docker, install, run, say

SUITE = "bookworm"
# What gateways may have instead.
SUITES = (SUITE, "trixie")
REPOSITORY = "scistream-testbed"

_BASE = ("ca-certificates", "iproute2", "iputils-ping", "openssh-server", "python3", "sudo")
_NO_DOCUMENTATION = tuple(f"path-exclude=/usr/share/{part}/*" for part in ("doc", "info", "locale", "man"))
# Host keys are made for each run; ops is who Ansible logs in as. The other file is where roles install keys.
_ACCOUNT = (
    'chroot "$1" useradd --create-home --shell /bin/bash ops',
    """printf 'ops ALL=(ALL) NOPASSWD: ALL\\n' > "$1/etc/sudoers.d/ops\"""",
    'rm -f "$1"/etc/ssh/ssh_host_*',
    'echo AuthorizedKeysFile /etc/ssh/authorized_keys .ssh/authorized_keys > "$1/etc/ssh/sshd_config.d/testbed.conf"',
)
# Packages that a host can install although it reaches no mirror: in a directory that is its only source.
_SHELF = "/srv/packages"
_ON_THE_SHELF = "docker.io python3-docker"
_LIST = (
    'for file in *.deb; do dpkg-deb --field "$file"; '
    """printf 'Filename: ./%s\\nSize: %s\\nSHA256: %s\\n\\n' "$file" "$(stat --format %s "$file")" """
    '"$(sha256sum "$file" | cut -d " " -f 1)"; done > Packages'
)
_LATER = (
    'rm "$1"/var/cache/apt/archives/*.deb',
    'APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get --quiet --yes --no-install-recommends --download-only install '
    + _ON_THE_SHELF,
    f'mkdir "$1{_SHELF}" && mv "$1"/var/cache/apt/archives/*.deb "$1{_SHELF}"',
    f'cd "$1{_SHELF}" && {_LIST}',
    f'echo "deb [trusted=yes] file:{_SHELF} ./" > "$1/etc/apt/sources.list"',
)


@dataclass(frozen=True)
class Image:
    """What is in an image, and so what its tag is."""

    name: str
    packages: tuple[str, ...]
    hooks: tuple[str, ...] = ()
    suite: str = SUITE

    @property
    def tag(self) -> str:
        """Name and version: another recipe is another image."""
        recipe = json.dumps(asdict(self), sort_keys=True).encode()
        return f"{REPOSITORY}/{self.name}:{self.suite}-{hashlib.sha256(recipe).hexdigest()[:12]}"


GATEWAY = Image(
    "gateway",
    (
        *_BASE,
        *("dbus", "kmod", "procps", "systemd", "systemd-sysv"),
        *("python3-apt", "python3-jinja2"),
        *("haproxy", "nginx-light", "libnginx-mod-stream", "stunnel4"),
    ),
    (
        *_ACCOUNT,
        *_LATER,
        # The proxies run as sessions only, and nothing in a container mounts, updates or blanks screens.
        'chroot "$1" systemctl disable haproxy.service nginx.service',
        'chroot "$1" systemctl mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer '
        "e2scrub_reap.service fstrim.timer getty.target systemd-udevd.service "
        "sys-kernel-debug.mount sys-kernel-tracing.mount dev-hugepages.mount dev-mqueue.mount",
    ),
)
# By the name of the suite.
GATEWAYS = {suite: replace(GATEWAY, suite=suite) for suite in SUITES}
APPLICATION = Image("application", (*_BASE, "iperf3"), _ACCOUNT)


def ensure(image: Image, cache: Path, mirror: str | None = None) -> str:
    """Have an image in the engine, from the archive of an earlier run where there is one; return its tag."""
    if docker("image", "ls", "--quiet", image.tag):
        return image.tag
    archive = cache / "images" / f"{image.tag.partition('/')[2].replace(':', '-')}.tar"
    archive.parent.mkdir(parents=True, exist_ok=True)
    # Other beds may want the same image at the same time. Making it takes more than waiting for it.
    with open(archive.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if docker("image", "ls", "--quiet", image.tag):
            return image.tag
        if not archive.exists():
            _make(image, archive, mirror)
        say(f"loading {image.tag}")
        docker("import", str(archive), image.tag)
    return image.tag


def _make(image: Image, archive: Path, mirror: str | None) -> None:
    if shutil.which("mmdebstrap") is None:
        install(["mmdebstrap"], "the images of the test bed are made with mmdebstrap")
    say(f"making the image {image.name} of {image.suite}")
    began = time.monotonic()
    partial = archive.with_suffix(".partial.tar")
    run(
        [
            *("mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(image.packages)}"),
            *(f"--dpkgopt={option}" for option in _NO_DOCUMENTATION),
            *(f"--customize-hook={hook}" for hook in image.hooks),
            *(image.suite, str(partial)),
            *([mirror] if mirror else []),
        ]
    )
    partial.replace(archive)
    for old in archive.parent.glob(f"{image.name}-{image.suite}-*.tar"):
        if old != archive:
            old.unlink()
    say(f"made {archive.name} in {time.monotonic() - began:.0f} s")
