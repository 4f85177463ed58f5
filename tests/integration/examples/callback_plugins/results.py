# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: results
type: aggregate
short_description: Write down what modules return
description:
  - Appends a JSON line for each result to the file that the environment variable E(SCISTREAM_TEST_RESULTS) names.
author:
  - SciStream gateway developers
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Keeps whole results; censored ones as what is left of them."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "results"

    def v2_runner_on_ok(self, result: Any) -> None:
        rows = result._result.get("results", [result._result])
        with open(os.environ["SCISTREAM_TEST_RESULTS"], "a", encoding="utf-8") as file:
            for row in rows:
                file.write(json.dumps({"action": result._task.action, "result": row}, default=str) + "\n")
