# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why sessions expired that have been released since, so that users who still use them can be told."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from typing import Mapping, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session import Session, session_name

_NAME = "expired.json"
# Maximum number of sessions, time in seconds for which they are known, and maximum size of the file in bytes.
_MAX_SESSIONS, _SECONDS, _MAX_BYTES = 256, 86400.0, 1 << 20


def record(state_dir: str, sessions: Sequence[Session]) -> None:
    """Record sessions that have expired and been released. If this fails, only the reason is not known later."""
    if not sessions:
        return
    now = time.time()
    known = {name: entry for name, entry in _read(state_dir).items() if now - entry[0] < _SECONDS}
    known.update({session.name: (now, session.why_expired()) for session in sessions})
    latest = sorted(known.items(), key=lambda item: item[1][0])[-_MAX_SESSIONS:]
    path = os.path.join(state_dir, _NAME)
    draft = f"{path}.{os.getpid()}"
    with suppress(OSError):
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        with os.fdopen(os.open(draft, flags, 0o600), "w", encoding="ascii") as stream:
            json.dump(dict(latest), stream)
        os.rename(draft, path)


def find(state_dir: str, uid: str, role: str) -> str:
    """Return when and why the last session of a role of a stream expired, or nothing if this is not known."""
    entry = _read(state_dir).get(session_name(uid, role))
    return "" if entry is None or time.time() - entry[0] > _SECONDS else entry[1]


def _read(state_dir: str) -> Mapping[str, tuple[float, str]]:
    """Return the time of the release and the reason by the names of data servers."""
    try:
        with open(os.path.join(state_dir, _NAME), encoding="ascii") as stream:
            document = json.loads(stream.read(_MAX_BYTES))
        return {str(name): (float(when), str(why)) for name, (when, why) in document.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
