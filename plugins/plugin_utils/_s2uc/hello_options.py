# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of a run that announces applications (HELLO): where they listen, and the secrets of their streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, ValueRefused, show
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import check_secret
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.document import DocumentError, read_text
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.inputs import InputError, Inputs
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.key import KeyFileError, find_key

_MAX_SECRET_FILE = 4096


@dataclass(frozen=True)
class HelloOptions:
    """The options.

    Attributes:
        listeners: Where the application of the only stream listens, empty if that is described.
        secret_file: Path of the file with the secret of the only stream, empty if it follows from the user's key.
        problems: What is wrong, one sentence each.
    """

    listeners: list[str] = field(default_factory=list)
    secret_file: str = ""
    problems: list[str] = field(default_factory=list)


def hello_options(inputs: Inputs, selected: Sequence[Any], by_uid: bool, key_file: str, key: str) -> HelloOptions:
    """Read and check the options.

    Args:
        inputs: Inputs of the user.
        selected: The selected streams or uids.
        by_uid: Whether they are uids, which do not say where an application listens.
        key_file: Path of the user's key, empty for the default.
        key: The user's key, empty if it is in the file.
    """
    problems: list[str] = []
    listeners: list[str] = []
    try:
        listeners = inputs.listeners()
    except InputError as error:
        problems.append(str(error))
    secret_file = inputs.secret_file()
    if by_uid and not listeners and not problems:
        problems.append(
            "listeners: it is missing: specify where the application listens, such as -e listeners=10.1.0.5:7000"
        )
    for name, given in (("listeners", listeners), ("secret_file", secret_file)):
        if given and len(selected) > 1:
            problems.append(f"{name}: it is for a single stream, but {len(selected)} are selected: specify one of them")
    try:
        if secret_file:
            read_secret(secret_file)
        elif selected and find_key(key_file, key or None) is None:
            problems.append(
                "the key with which the stream was opened does not exist here: specify its file with "
                "scistream_key_file, or a file with the secret of the stream with -e secret_file=PATH"
            )
    except (KeyFileError, ScistreamError) as error:
        problems.append(str(error))
    return HelloOptions(listeners, secret_file, problems)


def read_secret(path: str) -> str:
    """Return the secret of a stream from a file.

    Raises:
        ScistreamError: The file cannot be read, or it contains no secret. The message never contains it.
    """
    try:
        content = read_text(path)
    except DocumentError as error:
        raise ScistreamError(f"secret_file: {show(path)}: {error}") from None
    try:
        if len(content) > _MAX_SECRET_FILE:
            raise ValueError
        return check_secret(content.decode("ascii").strip())
    except (ValueError, ValueRefused):
        raise ScistreamError(f"secret_file: {show(path)}: it does not contain the secret of a stream") from None
