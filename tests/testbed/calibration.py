# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs on a gateway: what its unit measures at boot, after another kernel than the one that was measured.

python3 calibration.py DIRECTORY, that of the programs. A gateway of the bed does not see whether the kernel has TLS, so
for a moment it is told that it has. Where that is not true, measuring fails, which is a result as well.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

UNIT = "scistream-s2ds-calibrate.service"
SESSIONS = "scistream-s2ds@.service"
# The directory of the only file that the forwarder reads there.
CLAIMED = "/proc/sys/net/ipv4"
DROP_IN = Path(f"/run/systemd/system/{UNIT}.d/claimed.conf")
OTHER = "1.2.3-other"


def run(*words: str) -> str:
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.stdout


@contextlib.contextmanager
def kernel_with_tls() -> Iterator[None]:
    DROP_IN.parent.mkdir()
    claim = DROP_IN.with_suffix(".ulp")
    claim.write_text("tls\n")
    DROP_IN.write_text(
        "[Unit]\nConditionPathExists=\n[Service]\n"
        f"TemporaryFileSystem={CLAIMED}\nBindReadOnlyPaths={claim}:{CLAIMED}/tcp_available_ulp\n"
    )
    try:
        run("systemctl", "daemon-reload")
        yield
    finally:
        shutil.rmtree(DROP_IN.parent)
        run("systemctl", "daemon-reload")


def property_of(unit: str, name: str) -> str:
    return run("systemctl", "show", "--value", f"--property={name}", unit).strip()


def main() -> None:
    directory = Path(sys.argv[1])
    place = directory / "kernel-tls.json"
    before = place.read_text() if place.exists() else None
    said = run("systemd-analyze", "verify", f"/etc/systemd/system/{UNIT}")
    assert not said, said
    assert run("systemctl", "is-enabled", UNIT).strip() == "enabled"
    assert UNIT in property_of(SESSIONS.replace("@", "@producer-none"), "After")
    costs = {"sending": {"kernel": 1.0, "user space": 2.0}, "receiving": {"kernel": 1.0, "user space": 2.0}}
    old = {"kernel": OTHER, "openssl": "", "processor": "", "program": "", "seconds_per_gb": costs}
    place.write_text(json.dumps(old))
    try:
        run("systemctl", "start", UNIT)
        assert json.loads(place.read_text()) == old
        with kernel_with_tls():
            run("systemctl", "start", UNIT)
            found = json.loads(place.read_text())
            assert found["kernel"] == os.uname().release, found
            assert ("failure" in found) != ("seconds_per_gb" in found), found
            info = place.stat()
            assert (info.st_uid, info.st_mode & 0o777) == (0, 0o644), info
            run("systemctl", "start", UNIT)
            # A result that still applies is kept; a failure is no result.
            assert "failure" in found or place.stat().st_ino == info.st_ino
        assert property_of(UNIT, "Result") == "success"
        assert [path.name for path in directory.glob("kernel-tls.json*")] == [place.name]
    finally:
        place.unlink()
        if before is not None:
            place.write_text(before)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
