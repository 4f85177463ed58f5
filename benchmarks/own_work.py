# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The processor time of single actions in the service of a gateway, with many sessions in its store.

Each action is carried out by a process of its own, whose processor time this measures from its start to its answer.
See the option --own-work of control.py.
"""

from __future__ import annotations

import importlib
import json
import statistics
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PACKAGE = "ansible_collections.scistream.gateway.plugins"
SECRET = "a-secret-of-the-benchmark-0123456789"
#: A program that runs the backend, and adds the time of each call to a file: FILE PROGRAM act ...
MEASURING = f"""
import os, resource, sys
file, sys.argv[0] = sys.argv[1:3]
del sys.argv[1:3]
sys.path.insert(0, os.path.realpath(os.path.join(os.path.dirname(sys.argv[0]), "lib")))
from {PACKAGE}.module_utils._s2cs.service import backend, commands
handle = backend.handle

def measure(*arguments):
    handle(*arguments)
    used = resource.getrusage(resource.RUSAGE_SELF)
    with open(file, "a") as stream:
        stream.write(f"{{used.ru_utime + used.ru_stime}}\\n")

backend.handle = measure
raise SystemExit(commands.run(sys.argv[1:]))
"""


def fill(root: Path, network: str, sessions: int) -> None:
    """Add sessions to the store of a gateway whose data servers would not be running yet."""
    library, make = _import("module_utils._s2cs.session"), _import("module_utils._s2cs.store").Store
    certificates = [_certificate(role).certificate for role in ("producer", "consumer")]
    limits = _import("module_utils._s2cs.limits").Limits(sessions=sessions + 1)
    store = make(str(root / "var/lib/scistream"))
    for number in range(sessions):
        session = library.Session(
            uid=str(uuid.uuid4()),
            role="producer",
            proxy="haproxy",
            runtime="process",
            encryption="tls",
            num_conn=1,
            rate=None,
            hello_timeout=180,
            labels={"name": f"stream-{number}"},
            owner=f"user-{number % 10}",
            secret_hash=library.hash_secret(SECRET),
            created=time.time(),
            expires=None,
            state="announced",
            producer_listeners=[f"{network}.1:7000"],
            clients=["127.0.0.0/8"],
            certificate=certificates[0],
            peer_certificate=certificates[1],
        )
        store.reserve(session, f"{network}.10", lambda _taken, _last, port=10000 + number: [port], limits)
    store.close()


def measure(socket: str, file: Path, network: str, rounds: int) -> Iterator[tuple[str, float]]:
    """Open and release a stream several times; yields what was done, and the seconds that it took."""
    ask = _import("module_utils._s2cs.service_client").ask
    version = _import("module_utils._common.version").VERSION

    def call(action: str, **arguments: Any) -> float:
        before = len(_lines(file))
        request = {"protocol": 1, "version": version, "action": action, "arguments": arguments}
        answer = json.loads(ask(json.dumps(request).encode(), socket))
        if answer.get("error") or answer["result"].get("failed"):
            raise SystemExit(f"{action}: {answer}")
        while len(_lines(file)) == before:
            time.sleep(0.01)
        return float(_lines(file)[-1])

    own, peer = _certificate("producer"), _certificate("consumer")
    target = [f"{network}.1:7000"]
    for _number in range(rounds):
        which = {"uid": str(uuid.uuid4()), "role": "producer"}
        hello = {"producer_listeners": target, "certificate": own.certificate, "key": own.key}
        for again in ("", " again"):
            yield f"REQ{again}", call("request", **which, secret=SECRET)
        for again in ("", " again"):
            yield f"HELLO{again}", call("hello", **which, secret=SECRET, **hello)
        update = {"remote_listeners": target, "peer_certificate": peer.certificate}
        for again in ("", " again"):
            yield f"UPDATE{again}", call("update", **which, **update)
        yield "info", call("info", uid=which["uid"])
        yield "REL", call("release", **which)


def table(measured: dict[str, list[float]]) -> str:
    """Milliseconds for people."""
    lines = ["| action | median ms | range ms |", "|---|--:|--:|"]
    for name, seconds in measured.items():
        found = [1000 * each for each in seconds]
        lines.append(f"| {name} | {statistics.median(found):.1f} | {min(found):.1f}-{max(found):.1f} |")
    return "\n".join(lines)


def _certificate(role: str) -> Any:
    return _import("plugin_utils._s2uc.certificate").make_credentials(str(uuid.uuid4()), role)


def _import(name: str) -> Any:
    return importlib.import_module(f"{PACKAGE}.{name}")


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []
