# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the playbooks say: the truth, once, in lines that people can read."""

from __future__ import annotations

import socket

from ansible_collections.scistream.gateway.tests.integration.s2uc.gateways import Outcome, Site, row


def failed(outcome: Outcome) -> str:
    """Return what a run said that failed: once, and in no other form."""
    assert outcome.status != 0
    assert outcome.output.count("fatal: [") == 1 and "censored" not in outcome.output
    assert "Origin: " not in outcome.output and "Traceback" not in outcome.output
    for line in outcome.message.splitlines()[1:]:
        assert outcome.output.count(line) == outcome.message.count(line)
    return outcome.message


def test_a_producer_that_does_not_answer_is_named(site: Site) -> None:
    with socket.create_server((f"{site.network}.1", 0)) as server:
        port = server.getsockname()[1]
        server.settimeout(5)
        opened = site.ok("stream_open", streams=[site.stream("heard", port), site.stream("deaf", 1)])
        # Somebody who listens is asked once, when the stream is opened.
        server.accept()[0].close()
    assert "heard: streaming (" in opened.message
    assert "deaf: open, but its producer does not answer (" in opened.message
    assert f"WARNING: no answer from {site.network}.1:1 (connection refused), seen from gw-a" in opened.message
    assert opened.output.count("no answer from") == 1
    assert (
        "no answer from" not in site.ok("stream_open", streams=[site.stream("other", 1)], scistream_probe=False).output
    )


def test_check_mode_predicts_what_becomes_of_an_open_stream(site: Site) -> None:
    site.ok("stream_open", streams=[site.stream("moved", 7000)])
    moved = [site.stream("moved", 7001)]
    predicted = site.ok("stream_open", "--check", "--diff", streams=moved)
    assert [line.strip() for line in predicted.output.splitlines() if line.startswith("+ ") and ":7001" in line]
    assert predicted.changed == site.ok("stream_open", streams=moved).changed == 2
    assert site.ok("stream_open", "--check", streams=moved).changed == 0


def test_what_is_misspelled_is_no_success(site: Site) -> None:
    site.ok("stream_open", streams=[site.stream("tomography")])
    for playbook in ("stream_release", "stream_status"):
        message = failed(site.play(playbook, streams=[site.stream("tomograhpy")]))
        assert 'stream "tomograhpy"' in message and 'did you mean "tomography" (uid ' in message
        assert 'uid: "nonsense" is not allowed: must be a UUID' in failed(site.play(playbook, uid="nonsense"))
    assert site.sessions() == ["gw-a/producer", "gw-b/consumer"]
    assert "no task" in failed(site.play("stream_status", "--tags", "nothing")).lower()
    assert "both" in failed(site.play("stream_open", streams=[site.stream("loop", consumer={"gateway": "gw-a"})]))


def test_what_all_gateways_say_is_said_once(site: Site) -> None:
    streams = [site.stream("mine")]
    site.ok("stream_open", streams=streams)
    message = failed(site.play("stream_open", streams=streams, scistream_key_file=str(site.directory / "third-key")))
    assert "gw-a, gw-b: " in message and message.count("the secret is different") == 1
    assert site.ok("stream_status", show="problems").message.splitlines() == [
        "1 stream, no problems",
        "; ".join(
            f"gw-{name}: {number} session{plural}, {number} of 101 ports used"
            for name, number, plural in (("a", 1, ""), ("b", 1, ""), ("c", 0, "s"))
        ),
    ]


def test_a_release_tells_the_totals_and_what_it_cut(site: Site, producer: int) -> None:
    opened = site.ok("stream_open", streams=[site.stream("busy", producer)])
    with socket.create_connection(site.listener(opened), 10) as connection:
        # The producer application waits for a word.
        deadline = 50
        while row(site.ok("stream_status"), "busy")[5] != "1/1" and deadline:
            deadline -= 1
        message = site.ok("stream_release", uid=_uid(opened)).message
        connection.settimeout(10)
    assert "gw-b: released busy consumer: " in message
    assert "1 connection in all, 0 B to the consumer, 0 B to the producer" in message
    # The gateway that is released first ends it for both; by the time of the other it may be gone.
    assert message.count("WARNING: 1 open connection was cut") in (1, 2)


def _uid(opened: Outcome) -> str:
    return opened.message.partition("uid ")[2].partition(")")[0]


def test_a_stream_that_cannot_be_changed_concerns_itself_alone(site: Site) -> None:
    fixed, relabelled = site.stream("fixed"), site.stream("relabelled")
    site.ok("stream_open", streams=[fixed, relabelled])
    wanted = [{**fixed, "num_conn": 2}, {**relabelled, "labels": {"run": "7"}}, site.stream("added")]
    message = failed(site.play("stream_open", streams=wanted))
    assert message.startswith("Not changed: fixed. All others are open as described:")
    assert 'gw-a, gw-b: stream "fixed": ' in message and "num_conn is 1, requested 2" in message
    assert "added: " in message and "relabelled: " in message
    assert len(site.sessions()) == 6
    status = site.ok("stream_status")
    assert [row(status, name)[2] for name in ("fixed", "relabelled", "added")] == ["ok"] * 3
