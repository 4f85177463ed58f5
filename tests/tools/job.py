# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One part of a test run: its commands, its log and its result."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Sequence
from xml.etree import ElementTree

from layout import COLLECTION, Failure
from offspring import LEFT

OFFSPRING = Path(__file__).with_name("offspring.py")
# Longer than the longest part took on a busy machine, and what a whole run may take.
LIMIT = 40 * 60
# Seconds for one test: several times what the longest one takes.
TEST_LIMIT = 900
# Tests of one part that may need a second attempt. Several failures are no coincidence.
SECOND_ATTEMPTS = 2


@dataclass
class Workspace:
    """What all parts of one run share."""

    directory: Path
    build: Path
    core: str
    env: dict[str, str]
    names: Sequence[Path] = ()
    arguments: list[str] = field(default_factory=list)
    echo: bool = False
    running: set[int] = field(default_factory=set)

    @property
    def collection(self) -> Path:
        """The copy of the project, in a path of the form that Ansible's tools ask for."""
        return self.directory / COLLECTION

    def stop(self) -> None:
        """End what still runs."""
        for group in list(self.running):
            try:
                os.killpg(group, signal.SIGTERM)
            except ProcessLookupError:
                continue


class Job:
    """Runs one part."""

    def __init__(self, name: str, workspace: Workspace) -> None:
        self.name = name
        self.workspace = workspace
        self.scratch = workspace.directory / "parts" / name
        self.scratch.mkdir(parents=True)
        self.log = workspace.directory / "logs" / f"{name}.log"
        self.passed = self.failed = self.skipped = 0
        self.notes: list[str] = []
        self.started = time.monotonic()
        self.seconds = 0.0
        self.errors: list[str] = []

    def execute(self, action: Callable[[Job], None]) -> Job:
        """Run the action; whatever goes wrong in it is a failure of this part."""
        self.started = time.monotonic()
        try:
            action(self)
        except Failure as error:
            self.errors.append(str(error))
        except Exception:
            self.errors.append(traceback.format_exc())
        if self.errors:
            self.failed = max(self.failed, 1)
        elif not self.passed and not self.failed and not self.skipped:
            self.passed = 1
        self.seconds = time.monotonic() - self.started
        self.write("".join(f"{error}\n" for error in self.errors))
        return self

    def run(self, *command: object, cwd: Path | None = None, env: dict[str, str] | None = None) -> bool:
        """Run a command with its output in the log; a command that fails is remembered and the part goes on."""
        words = [str(word) for word in command]
        self.write(f"$ {' '.join(map(shlex.quote, words))}\n")
        with self.log.open("ab") as out:
            process = subprocess.Popen(
                [sys.executable, "-I", str(OFFSPRING), *words],
                cwd=str(cwd or self.workspace.collection),
                env={**self.workspace.env, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self.workspace.running.add(process.pid)
        try:
            code = self._wait(process)
        finally:
            self.workspace.running.discard(process.pid)
        if code == LEFT:
            self.errors.append(f"{words[0]} left processes behind: see the lines with 'left behind'")
        elif code:
            self.errors.append(f"{words[0]} ended with {code}")
        return not code

    def _wait(self, process: subprocess.Popen[bytes]) -> int:
        """Wait for the end, within the limit, and show the output meanwhile where it is wanted."""
        shown = self.log.stat().st_size if self.log.exists() else 0
        end = time.monotonic() + LIMIT
        while True:
            try:
                code: int | None = process.wait(timeout=0.2)
            except subprocess.TimeoutExpired:
                code = None
            if self.workspace.echo:
                with self.log.open("rb") as file:
                    file.seek(shown)
                    sys.stdout.buffer.write(file.read())
                    sys.stdout.flush()
                    shown = file.tell()
            if code is not None:
                return code
            if time.monotonic() > end:
                os.killpg(process.pid, signal.SIGKILL)
                self.errors.append(f"stopped after {LIMIT} seconds")
                return process.wait()

    def pytest(
        self, directory: str, *options: object, env: dict[str, str] | None = None, python: Path | None = None
    ) -> None:
        """Run the tests of a directory and count them; with the Python of the environment, unless there is another."""
        report = self.scratch / "junit.xml"
        if not (self.workspace.collection / directory).exists():
            raise Failure(f"nothing to run: there is no {directory}")
        pytest = [python, "-m", "pytest"] if python else ["pytest", f"--timeout={TEST_LIMIT}"]
        pytest += ["-p", "no:cacheprovider", "-v", "-o", "junit_family=xunit1"]
        failures = len(self.errors)
        self.run(*pytest, *options, f"--junitxml={report}", *self.workspace.arguments, directory, env=env)
        failed = self.count(report)
        if failed is None:
            if not self.errors:
                raise Failure(f"nothing to run: there are no tests in {directory}")
        elif 0 < len(failed) <= SECOND_ATTEMPTS and self.errors[failures:] == [f"{pytest[0]} ended with 1"]:
            self.write("\nA second attempt, one test at a time:\n")
            if self.run(*pytest, *dict.fromkeys(failed), env=env):
                # Machines are shared and slow at times. The log has both attempts, and the table names the test.
                del self.errors[failures]
                self.passed, self.failed = self.passed + len(failed), self.failed - len(failed)
                self.notes += [f"passed at the second attempt only: {name}" for name in dict.fromkeys(failed)]

    def count(self, report: Path) -> list[str] | None:
        """Add what pytest reported, and return the tests that failed; None if there were none to run."""
        cases = list(ElementTree.parse(str(report)).getroot().iter("testcase")) if report.exists() else []
        failed: list[str] = []
        for case in cases:
            if case.find("failure") is not None or case.find("error") is not None:
                self.failed += 1
                failed.append(_node(case))
            elif (skip := case.find("skipped")) is not None:
                self.skipped += 1
                self.notes.append(f"skipped {case.get('name')}: {skip.get('message')}")
            else:
                self.passed += 1
        return failed if cases else None

    def files(self, *patterns: str) -> list[str]:
        """List the files of the project that match, relative to the collection; none at all is a failure.

        Parts that run at the same time write into the tree, and remove what they wrote: only the project's own count.
        """
        found = [name for name in map(str, self.workspace.names) if any(_matches(name, form) for form in patterns)]
        if not found:
            raise Failure(f"nothing to check: no file matches {' '.join(patterns)}")
        return found

    def write(self, text: str) -> None:
        """Add to the log."""
        if not text:
            return
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("a", encoding="utf-8") as out:
            out.write(text)
        if self.workspace.echo:
            print(text, end="", flush=True)


def _matches(name: str, pattern: str) -> bool:
    """Whether a path matches a pattern as Path.glob() reads it."""
    form = re.escape(pattern).replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*")
    return re.fullmatch(form, name) is not None


def _node(case: ElementTree.Element) -> str:
    """Return the name by which pytest runs a test again."""
    file = case.get("file", "")
    module = file[: -len(".py")].replace("/", ".")
    classes = case.get("classname", "")[len(module) :].strip(".")
    return "::".join([file, *(classes.split(".") if classes else []), case.get("name", "")])
