# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Parsing of untrusted YAML and JSON texts, such as tickets, replies and survey answers, as plain data.

Only dictionaries, lists, strings, integers, true, false and null are accepted. Anchors, aliases and tags are refused,
so that a small text cannot expand into a large or endless structure. Duplicate keys are refused, because two parsers
could disagree on which one applies.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, show

MAX_SIZE = 1 << 20
MAX_DEPTH = 8
_MAX_VALUES = 100_000
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})", re.ASCII)
_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}
#: libyaml's parser if PyYAML has it, which is ten times as fast.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class DocumentError(ScistreamError):
    """The text is not plain data. The message begins with "it" or with the line number."""


def load_document(text: str | bytes) -> Any:
    """Parse a text in YAML or JSON.

    Raises:
        DocumentError: The text is invalid, too large, or contains more than plain data.
    """
    if len(text) > MAX_SIZE:
        raise DocumentError(f"it is larger than {MAX_SIZE >> 20} MiB")
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8-sig")
        events = yaml.parse(plain_text(text), Loader=_LOADER)
        return _Builder(iter(events)).document()
    except UnicodeError:
        raise DocumentError("it is not text in UTF-8") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        raise DocumentError(f"{where}it is not YAML: {show(error.problem or error.context)}") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise DocumentError("it is not YAML") from None


def read_text(path: str) -> bytes:
    """Read a regular file, up to one byte more than the maximum size of a document.

    Raises:
        DocumentError: The file cannot be read.
    """
    try:
        path = os.path.expanduser(path)
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise DocumentError("it is not a regular file")
            return file.read(MAX_SIZE + 1)
    except (OSError, ValueError) as error:
        raise DocumentError(getattr(error, "strerror", None) or str(error)) from None


def plain_text(text: str) -> str:
    """Return a string of the plain type, without ansible-core's tags: libyaml only accepts the plain type."""
    return str.__str__(text)


def plain_document(value: Any) -> Any:
    """Return a plain copy of data that Ansible has already parsed.

    Raises:
        DocumentError: The data has values of other types, is nested too deeply, or is too large.
    """
    left = [_MAX_VALUES]

    def plain(item: Any, depth: int) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise DocumentError(f"it has more than {_MAX_VALUES} values")
        if depth > MAX_DEPTH:
            raise DocumentError(f"it is nested more than {MAX_DEPTH} levels deep")
        if item is None or isinstance(item, bool):
            return item
        if isinstance(item, str):
            return plain_text(item)
        if isinstance(item, int):
            return int(item)
        if isinstance(item, Mapping):
            return {str(key): plain(entry, depth + 1) for key, entry in item.items()}
        if isinstance(item, (list, tuple)):
            return [plain(entry, depth + 1) for entry in item]
        raise DocumentError(f"it contains {show(str(item)[:100])}, which is neither a string nor an integer")

    return plain(value, 0)


class _Builder:
    """Builds plain data from the events of the parser."""

    def __init__(self, events: Iterator[yaml.Event]) -> None:
        self.events = events
        self.left = _MAX_VALUES

    def document(self) -> Any:
        """Return the content of the only document, None if the text is empty."""
        value, seen = None, False
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                if seen:
                    raise _refused(event, "there is a second document")
                seen = True
                value = self._value(next(self.events), 0)
        return value

    def _value(self, event: yaml.Event, depth: int) -> Any:
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise _refused(event, "anchors and aliases (& and *) are not allowed")
        if getattr(event, "tag", None) is not None:
            raise _refused(event, "tags (!) are not allowed")
        if depth > MAX_DEPTH:
            raise _refused(event, f"it is nested more than {MAX_DEPTH} levels deep")
        self.left -= 1
        if self.left < 0:
            raise _refused(event, f"it has more than {_MAX_VALUES} values")
        if isinstance(event, yaml.ScalarEvent):
            return _scalar(event)
        if isinstance(event, yaml.SequenceStartEvent):
            return [self._value(item, depth + 1) for item in self._until(yaml.SequenceEndEvent)]
        mapping: dict[str, Any] = {}
        for item in self._until(yaml.MappingEndEvent):
            key = self._value(item, depth + 1)
            if not isinstance(key, str):
                raise _refused(item, f"the key {show(key)} is not a string")
            if key in mapping:
                raise _refused(item, f"the key {show(key)} is given twice")
            mapping[key] = self._value(next(self.events), depth + 1)
        return mapping

    def _until(self, end: type[yaml.Event]) -> Iterator[yaml.Event]:
        for event in self.events:
            if isinstance(event, end):
                return
            yield event


def _scalar(event: yaml.ScalarEvent) -> Any:
    text: str = event.value
    if not event.implicit[0]:
        # Quoted, or a block scalar.
        return text
    if text in _WORDS:
        return _WORDS[text]
    return int(text) if _NUMBER.fullmatch(text) else text


def _refused(event: yaml.Event, why: str) -> DocumentError:
    mark = event.start_mark
    return DocumentError(f"line {mark.line + 1}: {why}" if mark else why)
