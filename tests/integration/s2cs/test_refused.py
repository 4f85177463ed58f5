# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever is given to the modules from outside: refused with a message that names the option, and nothing changed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS, SECRET, own_uid
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import Application, exchange

# Each of these is wrong wherever an address with a port is asked for.
NO_ENDPOINTS = [
    *("", " ", ":", "127.0.0.1", "127.0.0.1:", ":7000", "127.0.0.1:0", "127.0.0.1:99999", "127.0.0.1:-1"),
    *("127.0.0.1:7000\n", "127.0.0.1:7000\nbackend evil", "\n127.0.0.1:7000", "127.0.0.1:70\x0000", "127.0.0.1 :7000"),
    *("127.0.0.1:7000\r", "127.0.0.1\t:7000", "127.0.0.1:7000;", "127.0.0.1:7000 ssl", "127.0.0.1:+7000", "::1:7000"),
    *("[::1]", "[::1]:", "[::1]:0", "[::1]:99999", "[::1\n]:7000", "[fe80::1%lo]:7000", "[::1%\nx]:7000", "[]:7000"),
    *(
        "[127.0.0.1]:7000",
        "256.0.0.1:7000",
        "127.1:7000",
        "127.0.0.1:\u0667\u0660",
        "a..b:7000",
        "-a:7000",
        "$(id):7000",
    ),
    *(
        "`id`:7000",
        "a/b:7000",
        "a" * 64 + ".org:7000",
        "a" * 300 + ":7000",
        "127.0.0.1:7000 # x",
        "\u017f:7000",
        "1e3:1e3",
    ),
]
NO_UIDS = [
    *("", "1", "../../../etc/passwd", "..", "x" * 36, "1b4e28ba-2fa1-41d2-883f-0016d3cca427\n", "' OR 1=1 --"),
    *(
        "1b4e28ba2fa141d2883f0016d3cca427",
        "{1b4e28ba-2fa1-41d2-883f-0016d3cca427}",
        "1b4e28ba-2fa1-41d2-883f-0016d3cca42g",
    ),
]
NO_SECRETS = ["", "short", "x" * 31, "x" * 513, "x" * 40 + "\n", "x" * 20 + " " + "x" * 20, "x" * 40 + "é", "\0" * 40]

# Per option of REQ what is not allowed; the message has to name the option.
NO_REQUESTS: list[tuple[str, Any]] = [
    *(("num_conn", value) for value in (0, -1, 1000, 65, 2**63, "many", "1\n2", 1.5, [1])),
    *(
        ("rate", value)
        for value in ("0", "-1", "fast", "1Gbit\n", "1 Gbit/s/s", "7kbit", "11Tbit", "1e9", "NaN", "inf")
    ),
    *(("proxy", value) for value in ("haproxy", "../s2ds", "s2ds\n", "S2DS", "sh -c id")),
    *(("runtime", value) for value in ("docker", "process\n", "host")),
    *(("encryption", value) for value in ("psk", "", "NONE", "TLS", ["tls"])),
    *(("secret", value) for value in NO_SECRETS),
    *(("uid", value) for value in NO_UIDS),
    *(("role", value) for value in ("PROD", "", "observer")),
    *(("hello_timeout", value) for value in (0, -1, 3601, "soon", 2**40)),
    ("labels", {"": "x"}),
    ("labels", {"a\nb": "x"}),
    ("labels", {"a b": "x"}),
    ("labels", {"job": "a\nb"}),
    ("labels", {"job": "\x1b[31m"}),
    ("labels", {"job": "x" * 257}),
    ("labels", {"job": ["x"]}),
    ("labels", {"job": None}),
    ("labels", {str(number): "x" for number in range(33)}),
]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S2CS]:
    """One S2CS for all these calls, none of which may change it."""
    s2cs = S2CS(tmp_path_factory.mktemp("gateway"))
    yield s2cs
    assert s2cs.remove() == []


@pytest.fixture(scope="module")
def session(shared: S2CS) -> dict[str, Any]:
    """A session that streams."""
    return shared.stream("127.0.0.1:7000", "127.0.0.1:7001", num_conn=2)


@pytest.mark.parametrize(("option", "value"), NO_REQUESTS, ids=lambda item: ascii(item)[:30])
def test_request(shared: S2CS, option: str, value: Any) -> None:
    options = {"uid": own_uid(), "role": "producer", "encryption": "none", "secret": SECRET, option: value}
    message = shared.refused("request", option, **options)
    if option == "secret" and value:
        assert value not in message
    good = {"uid": own_uid(), "role": "producer", "encryption": "none", "secret": SECRET}
    in_a_list = shared.refused("request", option, sessions=[good, options])
    assert "sessions" in in_a_list or str(options["uid"]) in in_a_list


@pytest.mark.parametrize("value", NO_ENDPOINTS, ids=lambda item: ascii(item)[:30])
def test_targets_and_listeners(shared: S2CS, session: dict[str, Any], value: str) -> None:
    which = {"uid": session["uid"], "role": "producer"}
    shared.refused("update", "remote_listeners[0]", **which, remote_listeners=[value])
    shared.refused("hello", "producer_listeners[1]", **which, secret=SECRET, producer_listeners=["127.0.0.1:1", value])
    shared.refused("update", "remote_listeners[1]", sessions=[{**which, "remote_listeners": ["127.0.0.1:1", value]}])


@pytest.mark.parametrize(
    "value",
    ["", "any", "127.0.0.1/33", "127.0.0.1/8", "127.0.0.1\n", "127.0.0.1:1", "::1%lo", "::1%\nx", "all", "[::1]"],
)
def test_clients(shared: S2CS, session: dict[str, Any], value: str) -> None:
    which = {"uid": session["uid"], "role": "producer"}
    shared.refused("update", "clients[0]", **which, clients=[value])


@pytest.mark.parametrize("uid", NO_UIDS, ids=ascii)
def test_uid_of_the_other_actions(shared: S2CS, session: dict[str, Any], uid: str) -> None:
    shared.refused("hello", "uid", uid=uid, role="consumer", secret=SECRET)
    shared.refused("update", "uid", uid=uid, role="producer")
    shared.refused("release", "uid", uid=uid)
    shared.refused("info", "uid", uid=uid)


def test_lists_that_do_not_fit(shared: S2CS, session: dict[str, Any]) -> None:
    which = {"uid": session["uid"], "role": "producer"}
    hello = {**which, "secret": SECRET}
    three = ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]
    shared.refused("update", "remote_listeners", "num_conn 2", **which, remote_listeners=three)
    shared.refused("update", "remote_listeners", "at least one", **which, remote_listeners=[])
    shared.refused("update", "remote_listeners[1]", "once", **which, remote_listeners=[three[0]] * 2)
    shared.refused("update", "remote_listeners[1]", "once", **which, remote_listeners=["[::1]:1", "[0:0::1]:1"])
    shared.refused("update", "loop", **which, remote_listeners=[session["listeners"][0]])
    shared.refused("hello", "producer_listeners", "num_conn 2", **hello, producer_listeners=three)
    shared.refused("hello", "producer_listeners", **hello, producer_listeners=[])
    shared.refused("hello", "producer_listeners[1]", "once", **hello, producer_listeners=[three[0]] * 2)
    consumer = shared.request(own_uid(), "consumer")["session"]
    for_consumer = {"uid": consumer["uid"], "role": "consumer"}
    shared.refused("hello", "producer_listeners", **for_consumer, secret=SECRET, producer_listeners=three)
    shared.refused("update", "remote_listeners", **for_consumer)


def test_options_that_do_not_go_together(shared: S2CS) -> None:
    item = {"uid": own_uid(), "role": "producer", "encryption": "none", "secret": SECRET}
    shared.refused("request", "sessions|uid", **item, sessions=[item])
    shared.refused("request", "uid")
    shared.refused("request", "secret", **{key: value for key, value in item.items() if key != "secret"})
    shared.refused("request", "secret", sessions=[{key: value for key, value in item.items() if key != "secret"}])
    shared.refused("request", "sessions[1]", "once", sessions=[item, {**item, "uid": str(item["uid"]).upper()}])
    shared.refused("request", "unknown_option", **item, unknown_option=1)
    assert not shared.done("request", sessions=[])["changed"]


@pytest.mark.parametrize(
    "target",
    [
        *("127.0.0.1:7000", "127.255.1.2:7000", "[::1]:7000", "[::ffff:127.0.0.1]:7000", "0.0.0.0:7000", "[::]:7000"),
        *("169.254.169.254:80", "[fe80::1]:7000", "224.0.0.1:7000", "[ff02::1]:7000", "localhost:7000", "0x7f.1:7000"),
        *("127.1.:7000", "[::ffff:7f00:1]:7000"),
    ],
)
def test_targets_that_no_policy_has_to_forbid(open_s2cs: S2CS, reserved: str, target: str) -> None:
    """Without rules: the gateway's own loopback, link-local and multicast addresses, however they are written."""
    which = {"uid": reserved, "role": "consumer"}
    open_s2cs.refused("update", "remote_listeners[0]", **which, remote_listeners=[target])
    if "localhost" not in target and "0x" not in target:
        open_s2cs.refused(
            "hello",
            "producer_listeners[0]",
            **{**which, "role": "producer"},
            secret=SECRET,
            producer_listeners=[target],
        )


@pytest.fixture(scope="module")
def open_s2cs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S2CS]:
    """An S2CS without rules for targets."""
    s2cs = S2CS(tmp_path_factory.mktemp("gateway"), targets=None)
    yield s2cs
    assert s2cs.remove() == []


@pytest.fixture(scope="module")
def reserved(open_s2cs: S2CS) -> str:
    """The uid of a consumer's session that was announced."""
    uid = own_uid()
    open_s2cs.request(uid, "consumer")
    open_s2cs.hello(uid, role="consumer")
    return uid


def test_options_of_a_session_beside_sessions(s2cs: S2CS) -> None:
    """Each would be ignored there, and some of them protect something."""
    uid = own_uid()
    request = {"uid": uid, "role": "producer", "encryption": "none", "secret": SECRET}
    for action, item, options in (
        ("request", request, {"rate": "1Gbit", "num_conn": 2, "labels": {"a": "b"}, "lifetime": 60}),
        ("hello", {"uid": uid, "role": "consumer", "secret": SECRET}, {"producer_listeners": ["127.0.0.1:1"]}),
        ("update", {"uid": uid, "role": "producer"}, {"clients": ["127.0.0.1"], "secret": SECRET}),
        ("release", {"uid": uid}, {"role": "producer", "secret": SECRET}),
    ):
        for name, value in options.items():
            s2cs.refused(action, "mutually exclusive", "sessions", name, sessions=[item], **{name: value})


def test_targets_outside_of_the_rules(make_s2cs: Callable[..., S2CS], application: Application) -> None:
    rules = [f"127.0.0.0/24:{application.port}", "10.0.0.0/8:5100-5200"]
    s2cs = make_s2cs(targets={"producer": rules})
    session = s2cs.stream(application.endpoint)
    which = {"uid": session["uid"], "role": "producer"}
    for target in ("127.0.0.1:1", f"127.0.1.1:{application.port}", "10.1.2.3:5099", "10.1.2.3:5201", "[::1]:5100"):
        message = s2cs.refused("update", "remote_listeners[0]", target, *rules, **which, remote_listeners=[target])
        assert str(s2cs.config) in message
        s2cs.refused("hello", "producer_listeners[0]", **which, secret=SECRET, producer_listeners=[target])
    assert exchange(session["listeners"][0]) == b"one:hello"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, ["the policy file", "does not exist", "scistream.gateway.s2cs"]),
        ("", ["cannot be read"]),
        ("{", ["cannot be read"]),
        ("\udcff", ["cannot be read"]),
        ("[]", ["object"]),
        ("null", ["object"]),
        ('{"state_dir": "/x"}', ["missing keys: listen"]),
        ('{"state_dir": "/x", "listen": {}, "more": 1}', ['there is no "more"']),
    ],
)
def test_policy_that_cannot_be_used(s2cs: S2CS, text: str | None, words: list[str]) -> None:
    if text is None:
        s2cs.config.unlink()
    else:
        s2cs.config.write_bytes(os.fsencode(text))
    for action, options in (
        ("request", {"role": "producer", "encryption": "none", "secret": SECRET}),
        ("hello", {"role": "consumer", "secret": SECRET}),
        ("update", {"role": "producer"}),
    ):
        s2cs.refused(action, "config", str(s2cs.config), *words, uid=own_uid(), **options)
    # Where the sessions are is all that looking and releasing take.
    for action in ("release", "info"):
        if "state_dir" in (text or ""):
            assert words[0] in str(s2cs.done(action, uid=own_uid()).get("policy_problems", words))
        else:
            s2cs.refused(action, "config", str(s2cs.config), *words, uid=own_uid())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("proxies", {"s2ds": {"runtimes": 5}}),
        ("proxies", {"s2ds": {"runtimes": "process"}}),
        ("proxies", {"s2ds": {"runtimes": ["process"], "settings": 5}}),
        ("proxies", {"s2ds": {"runtimes": ["process"], "settings": {"pipe": 5}}}),
        ("default_proxy", "haproxy"),
        ("default_runtime", "docker"),
        ("hello_timeout", 3601),
        ("gateway", "two\nlines"),
        ("port_range", [5200, 5100]),
    ],
)
def test_policy_with_a_wrong_value(s2cs: S2CS, key: str, value: Any) -> None:
    s2cs.write_policy(**{key: value})
    s2cs.refused("request", key, uid=own_uid(), role="producer", encryption="none", secret=SECRET)


def test_settings_that_the_forwarder_refuses(s2cs: S2CS) -> None:
    s2cs.write_policy(proxies={"s2ds": {"settings": {"pipe_size": "large"}}})
    s2cs.refused("request", "pipe_size", "large", uid=own_uid(), role="producer", encryption="none", secret=SECRET)


def test_listener_address_of_another_machine(s2cs: S2CS) -> None:
    s2cs.write_policy(listen={"producer": "203.0.113.77"})
    options = {"uid": own_uid(), "role": "producer", "encryption": "none", "secret": SECRET}
    s2cs.refused("request", "203.0.113.77", "listen", **options)
    s2cs.refused("request", "does not offer the role", **{**options, "role": "consumer"})


def test_programs_that_are_not_installed(s2cs: S2CS) -> None:
    options = {"uid": own_uid(), "role": "producer", "encryption": "none", "secret": SECRET}
    for program, role in (("s2ds", "scistream.gateway.s2ds"), ("supervise.py", "scistream.gateway.s2cs")):
        (s2cs.programs / program).rename(s2cs.root / "elsewhere")
        s2cs.refused("request", program, role, **options)
        (s2cs.root / "elsewhere").rename(s2cs.programs / program)
    s2cs.request(str(options["uid"]))


def test_store_that_cannot_be_used(s2cs: S2CS, tmp_path: Path) -> None:
    s2cs.request(own_uid())
    database = s2cs.state / "s2cs.db"
    saved = database.read_bytes()
    database.write_bytes(b"this is no database, and long enough to be noticed" * 10)
    calls: list[tuple[str, dict[str, Any]]] = [("info", {}), ("release", {"uid": own_uid()})]
    for action, options in calls:
        result = s2cs.call(action, **options)
        assert result.get("failed") and str(database) in result["msg"], result
    database.write_bytes(saved)
    assert json.loads(json.dumps(s2cs.info()))["running"]
