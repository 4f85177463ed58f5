# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The connection log of a data server, and its totals, which are stored when lines of the log are freed.

Lines are added to the totals and then freed, so that the log stays small however long a session lives. The totals, and
the offset up to which the log is included, are stored in the notes of S2CS, to which data servers cannot write. The log
itself is never truncated: programs append to it while it is read, and no line may be lost.

A line ``start <seconds since the epoch>`` marks each start of the data server. Connections that were open when it ended
before have no line, so from then on the totals are lower bounds.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from copy import deepcopy
from dataclasses import asdict, fields
from typing import Callable

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe import bounded_files
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.log_totals import (
    MAX_TOTAL,
    LineParser,
    Tally,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import Place

NOTES = "counters.json"
# Names in that file that differ from those of the fields.
_FILE_NAMES = {"worker_refused": "told", "former_workers_refused": "told_before"}
# Enough for about ten thousand connections.
RESERVE = 1 << 20
_LARGE = 4 * RESERVE
_SECONDS = 3.0


def read_totals(place: Place, log: str, parse: LineParser) -> Tally:
    """Return the stored totals plus the new lines of the log, without storing them.

    Args:
        place: The files of the data server.
        log: Path of the log below its directory.
        parse: Adds a line.
    """
    deadline = time.monotonic() + _SECONDS
    while True:
        before = load(place)
        tally = deepcopy(before)
        with bounded_files.opened(place.directory, log) as descriptor:
            complete = not tally.offset if descriptor is None else _read_lines(tally, descriptor, parse)
        # Another process may have stored totals meanwhile, and freed lines before they were read.
        stored = load(place)
        if stored == before:
            break
        if time.monotonic() > deadline:
            # It does so all the time, so that what it stored is recent, and complete in itself.
            return stored
    tally.exact = tally.exact and complete
    return tally


def compact(place: Place, log: str, parse: LineParser, observe: Callable[[Tally], None] = lambda tally: None) -> None:
    """Store the totals including the new lines of the log, and free these lines. If storing fails, nothing changes.

    Args:
        place: The files of the data server.
        log: Path of the log below its directory.
        parse: Adds a line.
        observe: Records what is observed of the data server now.
    """
    before = load(place)
    tally = deepcopy(before)
    with bounded_files.opened(place.directory, log, write=True) as descriptor:
        if descriptor is not None:
            _read_lines(tally, descriptor, parse)
        observe(tally)
        if tally == before:
            return
        with suppress(OSError):
            save(place, tally)
            if descriptor is not None:
                bounded_files.free(descriptor, tally.offset)
                bounded_files.reserve(descriptor, RESERVE)


def _read_lines(tally: Tally, descriptor: int, parse: LineParser) -> bool:
    """Add the lines after the offset of a tally. Returns whether there was time for all of them."""
    counted = 0
    if os.fstat(descriptor).st_size < tally.offset or bounded_files.before(descriptor, tally.offset) != tally.mark:
        # The log was truncated or replaced, or its last saved version was restored after a crash of the gateway.
        counted = _lines_counted(tally, descriptor, parse)
        tally.offset, tally.skipping, tally.exact = 0, False, False
    lines = bounded_files.Lines(descriptor, tally.offset, tally.skipping, time.monotonic() + _SECONDS)
    with suppress(OSError):
        for number, line in enumerate(lines):
            if number >= counted:
                parse(tally, line)
    tally.offset, tally.skipping = lines.offset, lines.skipping
    tally.mark = bounded_files.before(descriptor, tally.offset)
    tally.exact = tally.exact and not lines.omitted
    return lines.complete


def _lines_counted(tally: Tally, descriptor: int, parse: LineParser) -> int:
    """Return how many lines of a replaced log precede the first start that the totals do not include."""
    scratch = Tally()
    with suppress(OSError):
        for number, line in enumerate(bounded_files.Lines(descriptor, 0, False, time.monotonic() + _SECONDS)):
            starts = scratch.starts
            parse(scratch, line)
            if scratch.starts > starts and scratch.began > tally.began:
                return number
    return 0


def load(place: Place) -> Tally:
    """Return the stored totals."""
    text = bounded_files.read(place.notes, NOTES)
    if not text:
        return Tally()
    try:
        document = json.loads(text)
        tally = Tally(**{item.name: document[_FILE_NAMES.get(item.name, item.name)] for item in fields(Tally)})
        for item in fields(Tally):
            # Each value has the type of its default, and numbers are not negative.
            value, kind = getattr(tally, item.name), type(getattr(Tally(), item.name))
            valid = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
            if not valid or (kind in (int, float) and not 0 <= value <= MAX_TOTAL):
                raise ValueError
        if not all(isinstance(value, int) for value in tally.seen.values()):
            raise ValueError
        return tally
    except (ValueError, KeyError, TypeError, RecursionError):
        return Tally(exact=False)


def save(place: Place, tally: Tally) -> None:
    """Store totals, completely or not at all.

    Raises:
        OSError: They cannot be stored.
    """
    path = os.path.join(place.notes, NOTES)
    temporary = f"{path}.new"
    document = {_FILE_NAMES.get(name, name): value for name, value in asdict(tally).items()}
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            json.dump(document, stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(temporary, path)
    except OSError:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def is_large(directory: str, log: str) -> bool:
    """Return whether a log uses much more disk space than is reserved for it."""
    try:
        return bool(log) and os.lstat(os.path.join(directory, log)).st_blocks * 512 > _LARGE
    except OSError:
        return False


def create(directory: str, log: str, mode: int) -> None:
    """Create a log with reserved disk space, to which a data server can append. An existing one is not changed.

    Args:
        directory: The data server's directory.
        log: Path of the log below it. It gets the owner of its parent directory.
        mode: Mode of the log. If its group can read it, the group can also append to it.
    """
    path = os.path.join(directory, log)
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    # If that fails, the data server creates its log, without reserved space.
    with suppress(OSError):
        parent = os.stat(os.path.dirname(path))
        descriptor = os.open(path, flags, 0o600)
        try:
            os.fchown(descriptor, parent.st_uid, parent.st_gid)
            os.fchmod(descriptor, mode | (mode & 0o040) >> 1)
            bounded_files.reserve(descriptor, RESERVE)
        except OSError:
            os.unlink(path)
            raise
        finally:
            os.close(descriptor)
