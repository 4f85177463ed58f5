# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is handed from one facility to the other: its fingerprint covers all of it, and nothing in it does harm."""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.certificate import make_credentials
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.exchange_file import exchange_fingerprint
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import DescriptionError, Stream, stream_uid
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_reader import read_streams
from ansible_collections.scistream.gateway.tests.unit.plugins.plugin_utils._s2uc.client import report, tickets

UID = stream_uid("tomography", "gw-aps", "gw-alcf")
STREAM: dict[str, Any] = {
    "name": "tomography",
    "producer": {"gateway": "gw-aps", "listeners": ["10.1.0.5:7000"]},
    "consumer": {"gateway": "gw-alcf"},
    "num_conn": 2,
    "lifetime": "12h",
}


def session(role: str, **more: Any) -> dict[str, Any]:
    return {
        "uid": UID,
        "role": role,
        "state": "streaming",
        "listeners": ["192.0.2.1:5100", "192.0.2.1:5101"],
        "rate": 10**9,
        "proxy": "s2ds",
        "runtime": "process",
        "half_close": True,
        "egress": "198.51.100.1",
        "certificate": make_credentials(UID, role).certificate,
        **more,
    }


OPENED = {role: session(role) for role in ("producer", "consumer")}
INBOUND, OUTBOUND = (
    {gateway: {"sessions": [OPENED[role]]}} for gateway, role in (("gw-aps", "producer"), ("own", "consumer"))
)
(TICKET,) = tickets([STREAM], [INBOUND])
(REPLY,) = tickets([{"ticket": TICKET["text"]}], [OUTBOUND], "outbound", ["own"])


def read(kind: str, source: Any) -> Stream:
    """Read a ticket or a reply, as the playbooks do."""
    if kind == "ticket":
        return read_streams([{"ticket": source}], "outbound", ["own"])[0]
    return read_streams([STREAM], "inbound", ["gw-aps"], [source])[0]


def refusal(kind: str, source: Any) -> str | None:
    """Return why a ticket or a reply is refused; whatever it is, that is quick, short, and an error of our own."""
    begin = time.process_time()
    try:
        read(kind, source)
    except DescriptionError as error:
        assert len(error.problems) < 10 and all(len(text) < 500 and "\n" not in text for text in error.problems)
        return str(error)
    finally:
        assert time.process_time() - begin < 1
    return None


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Return the way to each value in nested dictionaries and lists."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield (*path, key)
        yield from places(item, (*path, key))


def changed(document: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """Return a document with another value at one place."""
    document = copy.deepcopy(document)
    at = document
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return document


def test_both_sides_show_the_same_fingerprints() -> None:
    there = report(OUTBOUND, "opened", streams=[{"ticket": TICKET["text"]}], purpose="outbound", gateways=["own"])
    here = report(INBOUND, "opened", streams=[STREAM], purpose="inbound", replies=[REPLY["text"]])
    lines = [
        f"  fingerprint of the {kind}: {file['fingerprint']}" for kind, file in (("ticket", TICKET), ("reply", REPLY))
    ]
    assert here[-2:] == there[-2:] == lines


@pytest.mark.parametrize(("kind", "file"), [("ticket", TICKET), ("reply", REPLY)])
def test_the_fingerprint_covers_all_of_it(kind: str, file: dict[str, str]) -> None:
    document = yaml.safe_load(file["text"])
    assert document["fingerprint"] == exchange_fingerprint(kind, document)
    seen = {document["fingerprint"]}
    for path in places(document):
        if path[0] in ("version", "kind", "fingerprint"):
            continue
        other = changed(document, path, "other")
        assert refusal(kind, other), path
        seen.add(exchange_fingerprint(kind, other))
    assert len(seen) > (17 if kind == "ticket" else 9)
    # Other listeners of the right kind, which alone would do.
    if kind == "ticket":
        other = changed(document, ("producer", "listeners", 0), "203.0.113.9:5100")
        assert "its fingerprint does not match its content" in str(refusal(kind, other))
        other["fingerprint"] = exchange_fingerprint(kind, other)
        assert read(kind, other).ticket == other["fingerprint"] != document["fingerprint"]


@pytest.mark.parametrize(("kind", "file"), [("ticket", TICKET), ("reply", REPLY)])
def test_a_path_a_text_and_its_content_are_the_same(tmp_path: Path, kind: str, file: dict[str, str]) -> None:
    path = tmp_path / file["file"]
    path.write_text(file["text"])
    texts = (file["text"], file["text"].replace("\n", "\r\n"), yaml.safe_load(file["text"]), str(path))
    found = [read(kind, source) for source in texts]
    assert all(stream == found[0] for stream in found)
    path.write_text("\ufeff" + file["text"])
    assert read(kind, str(path)) == found[0]


def test_a_ticket_for_as_many_connections_as_there_can_be() -> None:
    many = {**STREAM, "num_conn": 10_000}
    listeners = [f"[2001:db8:ffff:ffff:ffff:ffff:ffff:1]:{port}" for port in range(20_000, 30_000)]
    (ticket,) = tickets([many], [{"gw-aps": {"sessions": [session("producer", listeners=listeners)]}}])
    assert read("ticket", ticket["text"]).remote_listeners == listeners


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n + 1}: &a{n + 1} [*a{n}, *a{n}]\n" for n in range(27))


@pytest.mark.parametrize("kind", ["ticket", "reply"])
@pytest.mark.parametrize(
    "text",
    [
        BOMB + "kind: ticket\nversion: 2\n",
        f"kind: reply\nname: {{{BOMB.replace(chr(10), ',')}}}\n",
        "&a [*a]\n",
        "kind: ticket\nversion: 2\nname: &a {a: *a}\n",
        "kind: ticket\nkind: ticket\n",
        "version: 2\nkind: ticket\nname: !!python/name:os.system x\n",
        "#\n" * 600_000,
        "kind: ticket\nversion: " + "9" * 100_000,
        "kind: ticket\nversion: 2\nuid: " + "9" * 100_000,
        "[{]}\n",
    ],
)
def test_bombs(kind: str, text: str) -> None:
    assert refusal(kind, text)


@pytest.mark.parametrize(("kind", "file"), [("ticket", TICKET), ("reply", REPLY)])
@given(seed=st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_texts_that_were_damaged(kind: str, file: dict[str, str], seed: int) -> None:
    chance = random.Random(seed)
    text = file["text"]
    for _count in range(chance.randint(1, 3)):
        at, length = chance.randrange(len(text)), chance.choice((0, 1, 1, 5, 50, 500))
        more = chance.choice(
            ("", "x", "\n", " ", ": ", "&a ", "*a", "{", "[", "'", "0", "- ", "\t", "null", "!", "\0", "\ud800")
        )
        text = text[:at] + more + text[at + length :]
    if refusal(kind, text) is None:
        # Only what says nothing of the stream was damaged, such as a comment.
        assert read(kind, text) == read(kind, file["text"])


@pytest.mark.parametrize(("kind", "file"), [("ticket", TICKET), ("reply", REPLY)])
@given(
    place=st.integers(0, 1000),
    value=st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=30)
    | st.lists(st.text(max_size=5))
    | st.binary(max_size=5),
    recount=st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_values_of_any_kind(kind: str, file: dict[str, str], place: int, value: Any, recount: bool) -> None:
    document = yaml.safe_load(file["text"])
    ways = list(places(document))
    other = changed(document, ways[place % len(ways)], value)
    if recount:
        try:
            other["fingerprint"] = exchange_fingerprint(kind, other)
        except TypeError:
            assert isinstance(value, bytes)
    refusal(kind, other)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
@settings(max_examples=150, deadline=None)
def test_anything_that_says_it_is_one(value: Any) -> None:
    for kind in ("ticket", "reply"):
        assert refusal(kind, {"kind": kind, "version": 2, "a": value})
        assert refusal(kind, {"kind": kind, "version": value})
        assert refusal(kind, value) or value in ("", [], {}, None)


@given(st.binary(min_size=1, max_size=400))
@settings(max_examples=150, deadline=None)
def test_files_with_any_bytes(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yml"
    path.write_bytes(content)
    for kind in ("ticket", "reply"):
        assert refusal(kind, str(path))
