# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Values that somebody sends who means harm, or whose template went wrong."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

# Found in a file or a message, it tells that a value got through.
MARK = "intruder"

TEXTS = [
    f"{MARK}\n",
    f"10.1.0.5:7000\n{MARK}",
    f"10.1.0.5:7000\r\n    server {MARK} 127.0.0.1:22",
    f"10.1.0.5:7000; {MARK}",
    f"10.1.0.5:7000 #{MARK}",
    f"$({MARK})",
    f"`{MARK}`",
    f"${{{MARK}}}",
    f"| {MARK}",
    f"&& {MARK}",
    f"-{MARK}",
    f"--config={MARK}",
    f"../../../../tmp/{MARK}",
    f"/etc/{MARK}",
    f"./{MARK}",
    f"~{MARK}",
    f"{{{{ lookup('pipe', '{MARK}') }}}}",
    "{{ ''.__class__.__mro__ }}",
    f"{{% raw %}}{MARK}",
    f"{MARK}\0",
    f"\x1b]0;{MARK}\x07",
    f"\u202e{MARK}",
    f"\uff11\uff10.1.0.5:7000{MARK}",
    f"%n%s%i{MARK}",
    f"'; DROP TABLE session; --{MARK}",
    f'"{MARK}',
    f"'{MARK}",
    f"<{MARK}>",
    f"\\{MARK}",
    f"{MARK}@.service",
    f"[::1%{MARK}]:80",
    "[::ffff:127.0.0.1]:80",
    "0x7f000001:80",
    "2130706433:80",
    "0177.0.0.1:80",
    "127.1:80",
    "0.0.0.0:80",
    # Good ones, which only what stands beside them does not go together with.
    "1::",
    "::1",
    "192.0.2.77",
    "[2001:db8::1]:80",
    "10.1.0.5:0",
    "10.1.0.5:65536",
    "10.1.0.5:-1",
    "10.1.0.5:+80",
    "10.1.0.5:8e1",
    "10.1.0.5:\u0668\u0660",
    "10.1.0.5:",
    ":80",
    "",
    " ",
    MARK * 5000,
]
NUMBERS = [-1, 0, 2**31, 2**63, 2**64, -(2**64), 1e308, 0.5, float("inf"), float("nan")]
OTHERS: list[Any] = [None, True, False, [], {}, [[]], [{}], {"": ""}, [None], ["a"] * 2000, {MARK: {MARK: MARK}}]


def corpus(kind: str) -> list[Any]:
    """Return what an option of a type of Ansible's is tried with."""
    if kind == "list":
        texts: list[Any] = [[text] for text in TEXTS]
    elif kind == "dict":
        texts = [{text: text} for text in TEXTS]
    else:
        texts = list(TEXTS)
    return [*texts, TEXTS[0], *NUMBERS, *OTHERS]


# Pieces that mean something to a shell, a path, a template, a unit or a configuration, put together in any order.
_PIECES = st.sampled_from(
    [*"\n\r\t\0 ;|&$`'\"\\/.,:-_#%{}[]()<>=*?~!@^+0123456789", "..", "//", "{{", "}}", "{%", "%}", "\u2028", "\u0130"]
)
_WORDS = st.sampled_from([MARK, "127.0.0.1", "10.1.0.5", "::1", "7000", "server", "root", "bind", "exec", "connect"])
TEXT = st.one_of(
    st.text(max_size=60),
    st.lists(st.one_of(_PIECES, _WORDS), max_size=12).map("".join),
    st.ip_addresses().map(str),
    st.builds("{}:{}".format, st.ip_addresses(v=4), st.integers(-5, 70000)),
)
ANY = st.recursive(
    st.one_of(TEXT, TEXT, st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=6,
)
