# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A limit of time for what has none of its own, such as a library whose only limit is the silence between two bytes.

What does not come to its end is left in a thread, which does not keep the program from ending.
"""

from __future__ import annotations

import threading
from typing import Callable, Iterable, TypeVar

Answer = TypeVar("Answer")


class TooLateError(Exception):
    """There was no answer in time."""


def within(seconds: float, action: Callable[[], Answer]) -> Answer:
    """Return what an action returns, or raise what it raises, but wait no longer than so many seconds.

    Raises:
        TooLateError: It has not come to an end.
    """
    answers: list[Answer] = []
    errors: list[BaseException] = []

    def act() -> None:
        try:
            answers.append(action())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not answers:
        raise TooLateError
    return answers[0]


def read_bounded(parts: Iterable[bytes], largest: int) -> bytes:
    """Return all parts of an answer.

    Raises:
        ValueError: There is more of it than anybody needs.
    """
    data = bytearray()
    for part in parts:
        data += part
        if len(data) > largest:
            raise ValueError(f"its answer has more than {largest} bytes")
    return bytes(data)
