# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tickets, replies and descriptions in variables: as text, as parsed data, or as the path of a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import show
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.document import (
    DocumentError,
    load_document,
    plain_document,
    plain_text,
    read_text,
)


def is_document(value: Any) -> bool:
    """Return whether a value is the content of a ticket, a reply or a description, rather than a path."""
    if isinstance(value, str):
        text = value.strip()
        return (
            "\n" in text or text.startswith(("[", "- ")) or (text.startswith("{") and not text.startswith(("{{", "{%")))
        )
    return isinstance(value, Mapping) and value.get("kind") in ("ticket", "reply")


def document_data(value: Any) -> Any:
    """Return a document without ansible-core's tags. An invalid document is reported when it is read."""
    if isinstance(value, str):
        return plain_text(value)
    try:
        return plain_document(value)
    except DocumentError:
        return ""


def streams_of(name: str, text: str) -> Any:
    """Return the streams in a YAML or JSON text, or in a file that is specified as @FILE.

    The text is a list of streams, which Ansible does not accept in -e @FILE, or a dictionary with the key ``streams``.

    Raises:
        DocumentError: The text is neither, or the file cannot be read.
    """
    file = text.strip()[1:] if text.strip().startswith("@") else None
    if file is None and not is_document(text):
        return text
    try:
        found = load_document(text if file is None else read_text(file))
    except DocumentError as error:
        raise DocumentError(f"{name}: {'' if file is None else f'{show(file)}: '}{error}") from None
    if isinstance(found, dict) and len(found) == 1 and set(found) <= {"streams", "scistream_streams"}:
        found = next(iter(found.values()))
    return found
