# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Values of options other than addresses, and the messages for invalid ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ValueRefused, show
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import (
    check_labels,
    check_secret,
    check_uid,
)
from ansible_collections.scistream.gateway.plugins.module_utils._common.values import (
    MAX_RATE,
    MIN_RATE,
    check_choice,
    check_number,
    check_rate,
)

SECRET = "0123456789abcdef0123456789abcdef"
ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=80), st.binary(max_size=20)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=10), inner, max_size=3)),
)


def checked(check: Callable[[Any], Any], option: str, value: Any) -> Any:
    """Return the result of a check, or None if it refuses the value with a readable message."""
    try:
        return check(value)
    except ValueRefused as error:
        message = str(error)
        assert message.startswith(option) and "is not allowed: " in message
        assert message.isprintable() and len(message) < 500
        return None


@given(ANYTHING)
def test_any_value_in_a_message(value: Any) -> None:
    text = show(value)
    assert text.isprintable() and text.isascii() and len(text) <= 100


@given(st.one_of(ANYTHING, st.uuids().map(str), st.uuids().map(lambda uid: str(uid).upper() + "\n")))
def test_uid(value: Any) -> None:
    uid = checked(check_uid, "uid", value)
    assert uid is None or (uid == value.lower() == check_uid(uid) and len(uid) == 36)


@given(st.uuids())
def test_every_uuid(uid: Any) -> None:
    assert check_uid(str(uid).upper()) == str(uid)


@given(st.one_of(ANYTHING, st.text(st.characters(min_codepoint=30, max_codepoint=130), min_size=28, max_size=40)))
def test_secret(value: Any) -> None:
    secret = checked(check_secret, "secret", value)
    if secret is None:
        with pytest.raises(ValueRefused) as error:
            check_secret(value)
        assert "(hidden)" in str(error.value)
        assert not isinstance(value, str) or len(value) < 8 or value not in str(error.value)
    else:
        assert secret == value and 32 <= len(secret) <= 512 and secret.isprintable() and " " not in secret


@pytest.mark.parametrize("value", [SECRET, "!" * 32, "~" * 512])
def test_valid_secrets(value: str) -> None:
    assert check_secret(value) == value


@given(st.one_of(ANYTHING, st.dictionaries(st.text(max_size=70), ANYTHING, max_size=40)))
def test_labels(value: Any) -> None:
    labels = checked(check_labels, "labels", value)
    if labels is not None:
        assert check_labels(labels) == labels
        for key, text in labels.items():
            assert key.isascii() and key.isprintable() and " " not in key and 1 <= len(key) <= 63
            assert isinstance(text, str) and (text.isprintable() or not text) and len(text) <= 256


def test_valid_labels() -> None:
    given_labels = {"job": 42, "done": True, "share": 0.5, "who.is/it-a_b": "René Müller", "empty": ""}
    expected = {"job": "42", "done": "True", "share": "0.5", "who.is/it-a_b": "René Müller", "empty": ""}
    assert check_labels(given_labels) == expected
    assert check_labels(None) == {} == check_labels({})


@given(st.one_of(ANYTHING, st.from_regex(r"[0-9]{1,5}(\.[0-9]{1,3})? ?[kKMGT]?(bit|bps|bit/s)?\n?", fullmatch=True)))
def test_rate(value: Any) -> None:
    rate = checked(check_rate, "rate", value)
    assert rate is None or (isinstance(rate, int) and MIN_RATE <= rate <= MAX_RATE and check_rate(rate) == rate)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        *(
            (None, None),
            ("", None),
            ("10Gbit", 10**10),
            ("500Mbit", 5 * 10**8),
            ("1.5 Gbit/s", 1500000000),
            ("8k", 8000),
        ),
        *(("8kbps", 8000), (8000, 8000), (1e9, 10**9), ("10T", 10**13), ("0.1G", 10**8), ("8000", 8000)),
    ],
)
def test_valid_rates(text: Any, rate: int | None) -> None:
    assert check_rate(text) == rate


@pytest.mark.parametrize(
    "value", ["7999", "10.1T", "0", "-1M", "1m", "1 G bit", "\u0661G", "1G\n", "1e9", True, [1], "1G/s"]
)
def test_invalid_rates(value: Any) -> None:
    with pytest.raises(ValueRefused, match="rate: "):
        check_rate(value)


@given(ANYTHING)
def test_number(value: Any) -> None:
    number = checked(lambda item: check_number("num_conn", item, 1, 64), "num_conn", value)
    assert number is None or (not isinstance(number, bool) and 1 <= number <= 64)


@given(ANYTHING)
def test_choice(value: Any) -> None:
    choice = checked(lambda item: check_choice("proxy", item, {"s2ds": {}, "haproxy": {}}), "proxy", value)
    assert choice in (None, "s2ds", "haproxy")
