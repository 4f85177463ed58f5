# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Concurrent work on several sessions: slow steps run in threads, everything else in the calling thread.

The task for one session is a generator. Each function that it yields is called in a thread without arguments, and its
return value or exception is sent back to the generator. Tasks therefore read from top to bottom, and the store is only
used by one thread. What tasks write to the store at the same time is written together (``SharedStep``).
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Callable, Generator, Generic, Sequence, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

T = TypeVar("T")
Steps = Generator[Callable[[], Any], Any, T]

# Starting or stopping more data servers at a time is not faster.
_MAX_THREADS = 16
# How long a shared step waits for others, because a transaction on disk takes as long as many writes in it.
_GATHER_SECONDS = 0.02


def wait_turn() -> None:
    """Wait until all preceding tasks have reached this step or ended.

    A task yields this function before it takes something of which there is a limited supply, such as ports. The tasks
    then take it in their order.
    """


class Cancelled(Exception):
    """Thrown into a task to cancel it after the failure of another task."""


@dataclass
class Outcome(Generic[T]):
    """Outcome of a task: a value or an error, or neither if the task was never started."""

    started: bool = False
    value: T | None = None
    error: BaseException | None = None


class SharedStep(ABC):
    """A step in the calling thread that is carried out together with those of other tasks, because that is faster.

    Like the rest of a task, it is also carried out if the task is to be cancelled.
    """

    @abstractmethod
    def __call__(self) -> Any:
        """Carry out this step alone."""

    @abstractmethod
    def together(self, steps: Sequence[SharedStep]) -> list[Outcome[Any]]:
        """Carry out steps of the same kind, including this one, and return their outcomes in the same order."""


def run_all(tasks: Sequence[Steps[T]], cancels: Callable[[int], bool] = lambda index: False) -> list[Outcome[T]]:
    """Run tasks concurrently, and return their outcomes in the same order.

    Args:
        tasks: The tasks. They are started in order. Each continues as soon as its own step is complete.
        cancels: Called with the index of a task that failed. Returns whether to cancel the other tasks, which then
            complete their current steps first.
    """
    # Calls for one session, which are most, and rollbacks of nothing need no threads, which take time to load.
    if len(tasks) <= 1:
        return [_run_one(task) for task in tasks]
    group = _Group(tasks, cancels)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=min(_MAX_THREADS, len(tasks))) as pool:
        group.run(pool)
    return group.outcomes


def _run_one(task: Steps[T]) -> Outcome[T]:
    """Run a single task in the calling thread."""
    outcome: Outcome[T] = Outcome(True)
    try:
        step = next(task)
        while True:
            try:
                result = step()
            except BaseException as error:  # pylint: disable=broad-except
                step = task.throw(error)
            else:
                step = task.send(result)
    except StopIteration as end:
        outcome.value = end.value
    except BaseException as error:  # pylint: disable=broad-except
        outcome.error = error
    return outcome


class _Group(Generic[T]):
    """Tasks that run concurrently."""

    def __init__(self, tasks: Sequence[Steps[T]], cancels: Callable[[int], bool]) -> None:
        self.outcomes: list[Outcome[T]] = [Outcome() for _unused in tasks]
        self._tasks = tasks
        self._cancels = cancels
        self._cancelling = False
        self._running: dict[Future[Any], int] = {}
        self._done: SimpleQueue[Future[Any]] = SimpleQueue()
        # Tasks that wait for their turn, and tasks that have not had theirs.
        self._queue: set[int] = set()
        self._shared: dict[int, SharedStep] = {}
        self._carry_out_at = 0.0
        self._not_passed = set(range(len(tasks)))

    def run(self, pool: ThreadPoolExecutor) -> None:
        """Run all tasks. If interrupted, complete the steps that are running and cancel the rest."""
        interrupted: BaseException | None = None
        try:
            for index, task in enumerate(self._tasks):
                if self._cancelling:
                    break
                self.outcomes[index].started = True
                self._resume(pool, index, lambda task=task: next(task))  # type: ignore[misc]
            while self._running or self._queue or self._shared:
                self._collect(pool)
        except BaseException as error:  # pylint: disable=broad-except
            interrupted = error
            self._cancelling = True
        while self._running or self._queue or self._shared:
            self._collect(pool)
        if interrupted is not None:
            # Reported as the error of a task, so that the caller rolls back all of them.
            self.outcomes[0].error = self.outcomes[0].error or interrupted

    def _collect(self, pool: ThreadPoolExecutor) -> None:
        """Resume the tasks whose turn it is, and those whose steps are complete."""
        for index in sorted(self._queue):
            if not self._cancelling and min(self._not_passed) < index:
                break
            self._queue.remove(index)
            self._not_passed.discard(index)
            task = self._tasks[index]
            if self._cancelling:
                self._resume(pool, index, lambda task=task: task.throw(Cancelled()))  # type: ignore[misc]
            else:
                self._resume(pool, index, lambda task=task: task.send(None))  # type: ignore[misc]
        # Before shared steps, those that complete soon are resumed, because they may reach one, too.
        done = self._completed() if self._running else []
        if not done and self._shared:
            self._carry_out_shared(pool)
        for future in done:
            index = self._running.pop(future)
            task = self._tasks[index]
            error = future.exception()
            if error is not None:
                self._resume(pool, index, lambda task=task, error=error: task.throw(error))  # type: ignore[misc]
            else:
                result = future.result()
                self._resume(pool, index, lambda task=task, result=result: task.send(result))  # type: ignore[misc]

    def _completed(self) -> list[Future[Any]]:
        """Return the steps that have been completed since the last call.

        Waits for at least one, but only for a short time if there are shared steps to carry out.
        """
        done: list[Future[Any]] = []
        with suppress(Empty):
            patience = max(0.0, self._carry_out_at - time.monotonic()) if self._shared else None
            done.append(self._done.get(timeout=patience))
            while True:
                done.append(self._done.get_nowait())
        return done

    def _carry_out_shared(self, pool: ThreadPoolExecutor) -> None:
        """Carry out the shared steps, and resume their tasks."""
        steps, self._shared = self._shared, {}
        try:
            outcomes = next(iter(steps.values())).together(list(steps.values()))
        except BaseException as error:  # pylint: disable=broad-except
            outcomes = [Outcome(error=error) for _unused in steps]
        for index, outcome in zip(steps, outcomes):
            task = self._tasks[index]
            if outcome.error is not None:
                self._resume(pool, index, lambda task=task, error=outcome.error: task.throw(error))  # type: ignore[misc]
            else:
                self._resume(pool, index, lambda task=task, value=outcome.value: task.send(value))  # type: ignore[misc]

    def _resume(self, pool: ThreadPoolExecutor, index: int, resume: Callable[[], Callable[[], Any]]) -> None:
        """Resume a task until it yields its next step, which is started in a thread, or until it ends."""
        try:
            step = resume()
            if isinstance(step, SharedStep):
                if not self._shared:
                    self._carry_out_at = time.monotonic() + _GATHER_SECONDS
                self._shared[index] = step
                return
            if self._cancelling:
                self._tasks[index].throw(Cancelled())
                raise RuntimeError("a cancelled task did not end")
            if step is wait_turn:
                self._queue.add(index)
            else:
                future = pool.submit(step)
                self._running[future] = index
                future.add_done_callback(self._done.put)
            return
        except StopIteration as end:
            self.outcomes[index].value = end.value
        except BaseException as error:  # pylint: disable=broad-except
            self.outcomes[index].error = error
            if not isinstance(error, Cancelled) and (self._cancels(index) or not isinstance(error, Exception)):
                self._cancelling = True
        self._not_passed.discard(index)
