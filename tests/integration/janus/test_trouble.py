# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What goes wrong around a stream under Janus, what is said of it, and what is never said."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.tests.integration.janus.harness import Stream, password_file
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS, SECRET, own_uid
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import Application, exchange
from ansible_collections.scistream.gateway.tests.janus.controller import Controller
from ansible_collections.scistream.gateway.tests.testbed.engine import docker

NONSENSE = "    nonsense yes\n"


def _template(s2cs: S2CS) -> Path:
    return Path(s2cs.policy["template_dir"]) / "haproxy.cfg.j2"


def test_a_controller_that_is_down(gateway: S2CS, janus: Controller, application: Application) -> None:
    stream = Stream(gateway, janus, application.endpoint)
    janus.stop()
    message = gateway.refused("update", "does not answer", **stream.update(application.endpoint))
    assert janus.url in message
    # The stream does not need the controller, only what is to change or to be known does.
    assert exchange(stream.listener) == b"one:hello"
    seen = gateway.info(stream.uid)
    assert seen["running"] is False and "does not answer" in " ".join(seen["log"])
    result = gateway.call("release", uid=stream.uid)
    assert result["failed"] and "does not answer" in result["msg"]
    assert exchange(stream.listener) == b"one:hello"
    janus.start()
    stream.release()
    assert not stream.known()


def test_a_controller_that_was_started_anew(gateway: S2CS, janus: Controller, application: Application) -> None:
    stream = Stream(gateway, janus, application.endpoint)
    janus.stop()
    janus.start()
    assert exchange(stream.listener) == b"one:hello"
    assert gateway.info(stream.uid)["running"]
    assert not stream.point(application.endpoint)["changed"]


def test_a_request_while_the_controller_is_down(gateway: S2CS, janus: Controller) -> None:
    janus.stop()
    request = {"uid": own_uid(), "role": "producer", "proxy": "haproxy", "runtime": "janus", "encryption": "none"}
    gateway.refused("request", "does not answer", secret=SECRET, **request)


def test_a_configuration_that_the_proxy_refuses_at_first(
    gateway: S2CS, janus: Controller, application: Application
) -> None:
    uid = own_uid()
    gateway.request(uid, proxy="haproxy", runtime="janus")
    gateway.hello(uid, application.endpoint)
    path = _template(gateway)
    text = path.read_text()
    path.write_text(text + NONSENSE)
    result = gateway.call("update", uid=uid, role="producer")
    # What HAProxy itself says of it.
    assert result["failed"] and "exited immediately" in result["msg"] and "unknown keyword 'nonsense'" in result["msg"]
    assert "scistream:" not in result["msg"]
    assert not janus.sessions()
    path.write_text(text)
    session = gateway.done("update", uid=uid, role="producer")["session"]
    assert exchange(session["listeners"][0]) == b"one:hello"


def test_a_configuration_that_the_proxy_refuses_later(
    gateway: S2CS, janus: Controller, application: Application
) -> None:
    stream = Stream(gateway, janus, application.endpoint)
    before = stream.container()
    path = _template(gateway)
    path.write_text(path.read_text() + NONSENSE)
    gateway.refused("update", "rejects the configuration", "unknown keyword 'nonsense'", **stream.update("127.0.0.1:9"))
    # It was found out in the container that runs, which goes on.
    assert stream.container() == before
    assert exchange(stream.listener) == b"one:hello"


def test_a_configuration_that_is_too_large(gateway: S2CS, janus: Controller, application: Application) -> None:
    stream = Stream(gateway, janus, application.endpoint)
    path = _template(gateway)
    text = path.read_text()
    # What fits is delivered as it is.
    path.write_text(text + "".join(f"# {number:060}\n" for number in range(1400)))
    assert stream.point(application.endpoint)["changed"]
    path.write_text(text + "".join(f"# {number:060}\n" for number in range(1700)))
    gateway.refused("update", "too large for Janus", **stream.update(application.endpoint))
    assert exchange(stream.listener) == b"one:hello"


@pytest.mark.parametrize("seconds", [0.4, 0.8, 1.2, 1.6, 2.0])
def test_an_update_that_was_killed(
    gateway: S2CS, janus: Controller, application: Application, other_application: Application, seconds: float
) -> None:
    stream = Stream(gateway, janus, application.endpoint)
    gateway.start("update", **stream.update(other_application.endpoint)).kill_after(seconds)
    stream.point(other_application.endpoint)
    assert exchange(stream.listener) == b"two:hello"
    assert len(stream.known()) == 1
    assert not stream.point(other_application.endpoint)["changed"]
    gateway.start("release", uid=stream.uid).kill_after(seconds)
    gateway.done("release", uid=stream.uid)
    assert not stream.known()


def test_a_port_that_was_taken(gateway: S2CS, janus: Controller, application: Application) -> None:
    uid = own_uid()
    found = gateway.request(uid, proxy="haproxy", runtime="janus")["session"]
    gateway.hello(uid, application.endpoint)
    host, _colon, port = found["listeners"][0].rpartition(":")
    with socket.create_server((host, int(port))):
        result = gateway.call("update", uid=uid, role="producer")
    # The process of the test has it.
    message = f"address already in use: {found['listeners'][0]}, taken by PID {os.getpid()} "
    assert result["failed"] and result["msg"].startswith(message), result
    assert not janus.sessions()
    gateway.done("update", uid=uid, role="producer")
    assert exchange(found["listeners"][0]) == b"one:hello"


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"node": "nowhere"}, "has no node nowhere"),
        ({"profile": "other"}, "has no profile other"),
        ({"user": "nobody"}, "does not accept the user nobody"),
        ({"url": "http://127.0.0.1:9"}, "does not answer"),
        ({"ca": "/nonexistent.pem"}, "/nonexistent.pem cannot be used"),
        ({"password_file": "/nonexistent"}, "/nonexistent cannot be read"),
    ],
)
def test_settings_that_do_not_fit(make_gateway: Callable[..., S2CS], keys: dict[str, Any], words: str) -> None:
    gateway = make_gateway(**keys)
    request = {"uid": own_uid(), "role": "producer", "proxy": "haproxy", "runtime": "janus", "encryption": "none"}
    gateway.refused("request", words, secret=SECRET, **request)


def test_an_image_that_janus_does_not_know(gateway: S2CS) -> None:
    gateway.write_policy(proxies={"s2ds": {}, "haproxy": {"runtimes": ["janus"], "settings": {"image": "no/such:1"}}})
    request = {"uid": own_uid(), "role": "producer", "proxy": "haproxy", "runtime": "janus", "encryption": "none"}
    gateway.refused("request", "has no image no/such:1", secret=SECRET, **request)


def test_a_password_that_others_may_read(gateway: S2CS, tmp_path: Path, janus: Controller) -> None:
    password_file(tmp_path, janus.password).chmod(0o640)
    request = {"uid": own_uid(), "role": "producer", "proxy": "haproxy", "runtime": "janus", "encryption": "none"}
    gateway.refused("request", "0600", secret=SECRET, **request)


@pytest.mark.parametrize("proxy", ["haproxy", "stunnel"])
def test_no_key_goes_through_janus(gateway: S2CS, proxy: str) -> None:
    request = {"uid": own_uid(), "role": "producer", "proxy": proxy, "runtime": "janus", "encryption": "tls"}
    gateway.refused("request", "encryption: the runtime janus does not support tls", secret=SECRET, **request)


def test_a_policy_without_a_controller(gateway: S2CS) -> None:
    gateway.write_policy(janus=None)
    request = {"uid": own_uid(), "role": "producer", "proxy": "haproxy", "runtime": "janus", "encryption": "none"}
    gateway.refused("request", "no section janus", secret=SECRET, **request)


def test_credentials_are_nowhere(
    gateway: S2CS, janus: Controller, application: Application, other_application: Application
) -> None:
    uid = own_uid()
    results = [
        gateway.request(uid, proxy="haproxy", runtime="janus"),
        gateway.hello(uid, application.endpoint),
        gateway.call("update", uid=uid, role="producer"),
        gateway.call("update", uid=uid, role="producer", remote_listeners=[other_application.endpoint]),
        gateway.call("info"),
    ]
    container = next(iter(janus.containers()))
    seen = [
        json.dumps(results),
        json.dumps(janus.sessions()),
        docker("inspect", container),
        docker("logs", container),
        janus.log,
        *(
            path.read_bytes().decode("utf-8", "replace")
            for path in [gateway.config, *gateway.state.rglob("*")]
            if path.is_file()
        ),
    ]
    janus.stop()
    seen.append(json.dumps([gateway.call("info"), gateway.call("update", uid=uid, role="producer")]))
    janus.start()
    password_file(gateway.root.parent, "Wrong-password-of-the-tests")
    seen.append(json.dumps(gateway.call("update", uid=uid, role="producer")))
    assert "does not accept" in seen[-1]
    for text in seen:
        assert janus.password not in text and "Wrong-password" not in text
        assert SECRET not in text
        assert "Bearer " not in text or text is seen[4]
    password_file(gateway.root.parent, janus.password)
