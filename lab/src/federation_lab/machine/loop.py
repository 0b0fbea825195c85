"""A small event loop: generators that wait for conditions.

A task is a generator that yields `Until`s; it gets True back when the condition holds and False
when the deadline passed first. There are few tasks, so after each event all conditions are asked.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Generator


class Until:
    """What a task waits for.

    Attributes:
        condition: asked after every event.
        deadline: on the monotonic clock, None for no end.
        every: ask at least so often, in seconds, for what gives no event.
    """

    __slots__ = ("condition", "deadline", "every")

    def __init__(
        self,
        condition: Callable[[], bool],
        deadline: float | None = None,
        every: float | None = None,
    ) -> None:
        self.condition = condition
        self.deadline = deadline
        self.every = every


class Task:
    """A running generator."""

    __slots__ = ("done", "generator", "on_done", "result", "waiting")

    def __init__(
        self,
        generator: Generator[Until, bool, object],
        on_done: Callable[[object], None] | None = None,
    ) -> None:
        self.generator = generator
        self.on_done = on_done
        self.waiting: Until | None = None
        self.done = False
        self.result: object = None


class Loop:
    """Runs tasks and calls back for file descriptors until stopped."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, log: Callable[[str], None] = print
    ) -> None:
        self.clock = clock
        self.log = log
        self.running = True
        self._poll = select.poll()
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._tasks: list[Task] = []

    def watch(self, descriptor: int, callback: Callable[[], None]) -> None:
        """Call back when there is something to read, or the other end is closed."""
        self._poll.register(descriptor, select.POLLIN | select.POLLHUP)
        self._callbacks[descriptor] = callback

    def forget(self, descriptor: int) -> None:
        """Call back no more."""
        if self._callbacks.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    def spawn(
        self,
        generator: Generator[Until, bool, object],
        on_done: Callable[[object], None] | None = None,
    ) -> Task:
        """Start a task; it runs up to its first wait at once."""
        task = Task(generator, on_done)
        self._tasks.append(task)
        self._step(task, None)
        return task

    def run(self) -> None:
        """Run until `running` is False."""
        while self.running:
            self.turn()

    def turn(self, longest: float | None = None) -> None:
        """Wait for one event or deadline, and let everything go on that can."""
        self._advance()
        if not self.running:
            return
        timeout = _least(self._timeout(), longest)
        for descriptor, _ in self._poll.poll(None if timeout is None else timeout * 1000):
            callback = self._callbacks.get(descriptor)
            if callback is not None:
                callback()
        self._advance()

    def _timeout(self) -> float | None:
        now, times = self.clock(), list[float]()
        for task in self._tasks:
            if task.waiting is not None:
                if task.waiting.deadline is not None:
                    times.append(max(0.0, task.waiting.deadline - now))
                if task.waiting.every is not None:
                    times.append(task.waiting.every)
        return min(times, default=None)

    def _advance(self) -> None:
        """Resume tasks until none can go on; one task's end may be another's condition."""
        moved = True
        while moved:
            moved = False
            for task in list(self._tasks):
                wait = task.waiting
                if wait is None or task.done:
                    continue
                if wait.condition():
                    moved = True
                    self._step(task, True)
                elif wait.deadline is not None and self.clock() >= wait.deadline:
                    moved = True
                    self._step(task, False)
            self._tasks = [task for task in self._tasks if not task.done]

    def _step(self, task: Task, answer: bool | None) -> None:
        task.waiting = None
        try:
            task.waiting = task.generator.send(answer)  # type: ignore[arg-type]
            return
        except StopIteration as end:
            task.result = end.value
        except Exception as error:  # noqa: BLE001  # PID 1 must outlive a fault in one job
            self.log(f"internal error: {type(error).__name__}: {error}")
            task.result = f"internal error: {error}"
        task.done = True
        if task.on_done is not None:
            task.on_done(task.result)


def _least(a: float | None, b: float | None) -> float | None:
    if a is None or b is None:
        return b if a is None else a
    return min(a, b)
