# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: record
type: aggregate
short_description: Write down what each task did on each host
description:
  - Appends a JSON line for each result to the file that the environment variable E(SCISTREAM_TEST_RECORD) names.
author:
  - SciStream gateway developers
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Tells the tests what ran, without their having to read what is meant for people."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "record"

    def _write(self, outcome: str, result: Any) -> None:
        message = result._task.args.get("message") if result._task.action.endswith(".stream_message") else None
        done = {message: result._result} if message else {}
        if message == "open":
            # One task that sends several messages.
            done = result._result.get("steps") or {}
        row = {
            "outcome": outcome,
            "host": result._host.get_name(),
            "action": result._task.action,
            "changed": sum(bool(each.get("changed")) for each in (done.values() if message else [result._result])),
            "msg": result._result.get("msg"),
            "told": [name for name in done if name != "opened"],
        }
        with open(os.environ["SCISTREAM_TEST_RECORD"], "a", encoding="utf-8") as file:
            file.write(json.dumps(row, default=str) + "\n")

    def v2_runner_on_ok(self, result: Any) -> None:
        self._write("ok", result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._write("failed", result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._write("skipped", result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._write("unreachable", result)
