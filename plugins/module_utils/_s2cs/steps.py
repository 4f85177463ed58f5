# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Work on several sessions at once: slow steps run in parallel, everything else in the calling thread.

The work on one session is a generator. What it yields, a function without arguments, is called in a thread; what that
returns or raises comes back to the generator. So the work reads from top to bottom, and the store, which is for one
thread, is used by one.
"""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Callable, Generator, Generic, Sequence, TypeVar

T = TypeVar("T")
Steps = Generator[Callable[[], Any], Any, T]

# More only get in each other's way where data servers are started and stopped.
_AT_ONCE = 16


def in_turn() -> None:
    """Be the step after which a work goes on when all works before it have come as far, or have ended.

    What the works take from one stock, such as ports, they then take in the order in which they were given.
    """


class Stopped(Exception):
    """Thrown into work that is not to go on, because the work on another session failed."""


@dataclass
class Ended(Generic[T]):
    """How the work on one session ended: with a value, with an error, or with neither if it was never begun."""

    begun: bool = False
    value: T | None = None
    error: BaseException | None = None


def together(works: Sequence[Steps[T]], stops: Callable[[int], bool] = lambda index: False) -> list[Ended[T]]:
    """Do several works side by side, and return how each ended.

    Args:
        works: The works. Each begins in its turn, and goes on as soon as its own step is done (see ``in_turn``).
        stops: Tells, by its index, whether the failure of a work stops the others, which end the step they are in.
    """
    if len(works) == 1:
        return [_alone(works[0])]
    group = _Group(works, stops)
    with ThreadPoolExecutor(max_workers=min(_AT_ONCE, max(1, len(works)))) as pool:
        group.run(pool)
    return group.ended


def _alone(work: Steps[T]) -> Ended[T]:
    """Do one work in this thread."""
    ended: Ended[T] = Ended(True)
    try:
        step = next(work)
        while True:
            try:
                result = step()
            except BaseException as error:  # pylint: disable=broad-except
                step = work.throw(error)
            else:
                step = work.send(result)
    except StopIteration as end:
        ended.value = end.value
    except BaseException as error:  # pylint: disable=broad-except
        ended.error = error
    return ended


class _Group(Generic[T]):
    """Works that are done side by side."""

    def __init__(self, works: Sequence[Steps[T]], stops: Callable[[int], bool]) -> None:
        self.ended: list[Ended[T]] = [Ended() for _unused in works]
        self._works = works
        self._stops = stops
        self._stopping = False
        self._waiting: dict[Future[Any], int] = {}
        # Which wait for their turn, and which may still take theirs.
        self._queue: set[int] = set()
        self._to_come = set(range(len(works)))

    def run(self, pool: ThreadPoolExecutor) -> None:
        """Do all works; one whose step is under way when somebody interrupts is taken to the end of that step."""
        interrupted: BaseException | None = None
        try:
            for index, work in enumerate(self._works):
                if self._stopping:
                    break
                self.ended[index].begun = True
                self._go(pool, index, lambda work=work: next(work))  # type: ignore[misc]
            while self._waiting or self._queue:
                self._collect(pool)
        except BaseException as error:  # pylint: disable=broad-except
            interrupted = error
            self._stopping = True
        while self._waiting or self._queue:
            self._collect(pool)
        if interrupted is not None:
            # Raised as the error of a work, so that the caller rolls back all of them.
            self.ended[0].error = self.ended[0].error or interrupted

    def _collect(self, pool: ThreadPoolExecutor) -> None:
        for index in sorted(self._queue):
            if not self._stopping and min(self._to_come) < index:
                break
            self._queue.remove(index)
            self._to_come.discard(index)
            work = self._works[index]
            if self._stopping:
                self._go(pool, index, lambda work=work: work.throw(Stopped()))  # type: ignore[misc]
            else:
                self._go(pool, index, lambda work=work: work.send(None))  # type: ignore[misc]
        if not self._waiting:
            return
        done, _unused = wait(self._waiting, return_when=FIRST_COMPLETED)
        for future in done:
            index = self._waiting.pop(future)
            work = self._works[index]
            error = future.exception()
            if error is not None:
                self._go(pool, index, lambda work=work, error=error: work.throw(error))  # type: ignore[misc]
            else:
                self._go(pool, index, lambda work=work, future=future: work.send(future.result()))  # type: ignore[misc]

    def _go(self, pool: ThreadPoolExecutor, index: int, resume: Callable[[], Callable[[], Any]]) -> None:
        """Take a work to its next step, which begins in a thread, or to its end."""
        try:
            step = resume()
            if self._stopping:
                self._works[index].throw(Stopped())
                raise RuntimeError("work that was stopped went on")
            if step is in_turn:
                self._queue.add(index)
            else:
                self._waiting[pool.submit(step)] = index
            return
        except StopIteration as end:
            self.ended[index].value = end.value
        except BaseException as error:  # pylint: disable=broad-except
            self.ended[index].error = error
            if not isinstance(error, Stopped) and (self._stops(index) or not isinstance(error, Exception)):
                self._stopping = True
        self._to_come.discard(index)
