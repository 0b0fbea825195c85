"""The manager's event loop, with a clock that is set."""

from __future__ import annotations

import os

from federation_lab.machine.lifecycle import Job
from federation_lab.machine.loop import Loop, Until


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def waiter(answers: list[bool], until: Until) -> Job:
    answers.append((yield until))
    return "end"


def test_a_task_waits_for_its_condition() -> None:
    loop, answers, open_ = Loop(Clock()), list[bool](), list[bool]()
    task = loop.spawn(waiter(answers, Until(lambda: bool(open_))))
    loop.turn(0)
    assert not task.done
    open_.append(True)
    loop.turn(0)
    assert (task.done, task.result, answers) == (True, "end", [True])


def test_a_deadline_passes() -> None:
    clock = Clock()
    loop, answers = Loop(clock), list[bool]()
    loop.spawn(waiter(answers, Until(lambda: False, deadline=5)))
    loop.turn(0)
    assert answers == []
    clock.now = 5
    loop.turn(0)
    assert answers == [False]


def test_one_tasks_end_is_anothers_condition() -> None:
    loop, order = Loop(Clock()), list[bool]()
    go = list[bool]()
    first = loop.spawn(waiter(order, Until(lambda: bool(go))))
    second = loop.spawn(waiter(order, Until(lambda: first.done)))
    go.append(True)
    loop.turn(0)
    assert second.done


def test_a_fault_in_a_task_is_told_and_the_loop_goes_on() -> None:
    said: list[str] = []
    loop = Loop(Clock(), said.append)
    ends: list[object] = []

    def faulty() -> Job:
        yield Until(lambda: True)
        raise KeyError("x")

    task = loop.spawn(faulty(), ends.append)
    loop.turn(0)
    assert task.done
    assert said == ["internal error: KeyError: 'x'"]
    assert ends == ["internal error: 'x'"]


def test_descriptors_call_back() -> None:
    loop, seen = Loop(Clock()), list[bytes]()
    reader, writer = os.pipe()
    loop.watch(reader, lambda: seen.append(os.read(reader, 9)))
    os.write(writer, b"x")
    loop.turn(0)
    loop.forget(reader)
    os.write(writer, b"y")
    loop.turn(0)
    os.close(reader)
    os.close(writer)
    assert seen == [b"x"]
