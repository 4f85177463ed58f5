# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Calls that the program s2cs carries out in its own process."""

from __future__ import annotations

import json
from pathlib import Path

from ansible_collections.scistream.gateway.plugins.module_utils._common.version import VERSION
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.direct_call import handle


def request(**more: object) -> bytes:
    return json.dumps({"protocol": 1, "version": VERSION, "action": "info", "arguments": {}, **more}).encode()


def test_only_callers_of_the_same_version_are_served() -> None:
    major_minor = VERSION.rpartition(".")[0]
    answer = json.loads(handle(request(), f"{major_minor}.99"))
    assert answer["error"]["code"] == "other" and answer["version"] == VERSION


def test_requests_are_validated_like_those_of_the_service() -> None:
    for data in (b"", b"[]", b"\xff", request(arguments={"nonsense": 1}), request(action="drop table")):
        assert json.loads(handle(data, VERSION))["error"]["code"] == "bad_request"


def test_a_failure_is_a_result(tmp_path: Path) -> None:
    config = str(tmp_path / "s2cs.json")
    answers = [
        json.loads(handle(request(config=config), VERSION)),
        json.loads(handle(request(action="release", arguments={"sessions": []}, config=config), VERSION)),
    ]
    for answer in answers:
        assert answer["result"]["failed"] and config in answer["result"]["msg"]
