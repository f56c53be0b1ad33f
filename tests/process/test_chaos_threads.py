"""Random maps in threads, from several threads: with time limits, retries, failures, cancellation.

Whatever happens, each call ends in the right results or an honest error, and no function starts
more often than it may. Without the interpreter's lock this is what finds a race.

`PMAP_CHAOS_THREADS` says for how many seconds: two, or an hour once on a Python without that lock::

    PMAP_CHAOS_THREADS=3600 python -m pytest -s tests/process/test_chaos_threads.py

The seed is printed, and `PMAP_SEED` gives it: the same maps in each thread, though not the same
moments.
"""

import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import pytest
from tests.leaks import end_shared_pools

from pmap import CancelledError, Failure, Options, TaskTimeout, pmap

SECONDS: Final = float(os.environ.get("PMAP_CHAOS_THREADS", "2"))
CALLERS: Final = 4
TIMEOUT: Final = 0.01
FORMS: Final = ("call", "async", "iter", "iter_unordered")


class OwnError(Exception):
    """What an item raises."""


@dataclass
class Plan:
    """One call: what its items do, and what came of it."""

    size: int
    form: str
    collecting: bool
    leave: bool  # whether it is cancelled, or its stream left, before its end
    options: Options
    fails: set[int]  # items that fail each time
    fails_once: set[int]
    sleeps: dict[int, float]  # items that take about as long as their time limit
    answers: dict[int, object] = field(default_factory=dict[int, object])
    error: Exception | None = None
    left: bool = False
    starts: list[int] = field(default_factory=list[int])

    def __call__(self, index: int) -> int:
        self.starts.append(index)
        if index in self.sleeps:
            time.sleep(self.sleeps[index])
        if index in self.fails or (index in self.fails_once and self.starts.count(index) == 1):
            raise OwnError(index)
        return index * index

    @property
    def tries(self) -> int:
        retries = self.options.get("retries", 0)
        assert isinstance(retries, int)
        return 1 + retries


def drawn(rng: random.Random) -> Plan:
    size = rng.choice((0, 1, 2, 7, 30, 30, 200, 1000))
    options = Options(backend="threads", processes=rng.choice((1, 2, 3)))
    options["chunksize"] = rng.choice((None, None, 1, 3, 50))
    form = rng.choice(FORMS)
    if rng.random() < 0.5:
        options["timeout"] = TIMEOUT
    if rng.random() < 0.4:
        options["retries"] = rng.choice((1, 2))
        options["retry_on"] = TaskTimeout, OwnError

    def some(most: int) -> set[int]:
        return {rng.randrange(size) for _ in range(rng.randrange(most))} if size else set()

    return Plan(
        size,
        form,
        rng.random() < 0.5,
        form != "call" and rng.random() < 0.3,
        options,
        some(3) if rng.random() < 0.5 else set(),
        some(4),
        {index: TIMEOUT * rng.choice((0.1, 0.9, 0.99, 1.0, 1.01, 1.1)) for index in some(4)},
    )


def ask(rng: random.Random, plan: Plan) -> None:
    """Make the call; keep what comes of it."""
    verb = pmap.using(**plan.options)
    items = range(plan.size)
    try:
        if plan.form == "call":
            keep(plan, verb.collecting(plan, items) if plan.collecting else verb(plan, items))
        elif plan.form == "async":
            handle = (
                verb.collecting.async_(plan, items) if plan.collecting else verb.async_(plan, items)
            )
            if plan.leave:
                handle.wait(rng.choice((0.0, 0.001, 0.01)))
                plan.left = handle.cancel()
            keep(plan, handle.get())
        else:
            take(rng, plan)
    except Exception as error:
        plan.error = error


def keep(plan: Plan, answers: Iterable[object]) -> None:
    plan.answers.update(enumerate(answers))


def take(rng: random.Random, plan: Plan) -> None:
    verb = pmap.using(**plan.options)
    items = range(plan.size)
    if plan.form == "iter":
        stream = verb.collecting.iter(plan, items) if plan.collecting else verb.iter(plan, items)
    elif plan.collecting:
        stream = verb.collecting.iter_unordered(plan, items)
    else:
        stream = verb.iter_unordered(plan, items)
    most = rng.randrange(plan.size + 1) if plan.leave else plan.size + 1
    roots = {index * index: index for index in items}
    with stream:
        for place, answer in enumerate(stream):
            at: object = place
            if plan.form == "iter_unordered":
                at = answer.index if isinstance(answer, Failure) else roots[answer]
            assert isinstance(at, int)
            assert at not in plan.answers, f"item {at} came twice: {plan}"
            plan.answers[at] = answer
            if place + 1 >= most:
                plan.left = True
                return


def judge(plan: Plan) -> None:
    """Check that what came of a call is right, or honest."""
    starts = Counter(plan.starts)
    for index, times in starts.items():
        assert times <= plan.tries, f"item {index} began {times} times: {plan}"
    for index, answer in plan.answers.items():
        assert starts[index], f"item {index} never began: {plan}"
        if isinstance(answer, Failure):
            assert plan.collecting
            judge_error(plan, index, answer.error)
        else:
            assert answer == index * index
            assert index not in plan.fails
    if plan.error is None:
        assert plan.left or len(plan.answers) == plan.size, f"results are missing: {plan}"
        assert plan.left or plan.collecting or not plan.fails
    elif isinstance(plan.error, CancelledError):
        assert plan.left
    else:
        error = plan.error
        first: object = error.index if isinstance(error, TaskTimeout) else error.args[0]
        assert isinstance(first, int), repr(error)
        assert not plan.collecting
        judge_error(plan, first, error)
        assert plan.form == "iter_unordered" or first <= min(plan.fails, default=first)


def judge_error(plan: Plan, index: int, error: Exception) -> None:
    if isinstance(error, OwnError):
        assert error.args == (index,)
        # With a time limit, a try may have been given up before the function was called.
        assert index in plan.fails or index in plan.fails_once
        assert index in plan.fails or plan.tries == 1 or "timeout" in plan.options
    else:
        # Any item may take long, on a machine with much to do.
        assert isinstance(error, TaskTimeout), repr(error)
        assert "timeout" in plan.options


@pytest.mark.limit(SECONDS + 240)
def test_chaos_in_threads() -> None:
    seed = os.environ.get("PMAP_SEED") or str(random.SystemRandom().randrange(10**9))
    unlocked = not getattr(sys, "_is_gil_enabled", lambda: True)()
    print(f"\nPMAP_SEED={seed}, for {SECONDS:g} s, interpreter's lock: {not unlocked}")
    end = time.monotonic() + SECONDS
    counts: list[int] = []
    wrong: list[BaseException] = []

    def caller(number: int) -> None:
        rng = random.Random(f"{seed}, {number}")
        made = 0
        try:
            while time.monotonic() < end and not wrong:
                plans = [drawn(rng) for _ in range(20)]
                for plan in plans:
                    ask(rng, plan)
                    made += 1
                time.sleep(2 * TIMEOUT)  # what was given up comes to its end
                for plan in plans:
                    judge(plan)
        except BaseException as error:
            wrong.append(error)
        counts.append(made)

    threads = [threading.Thread(target=caller, args=(number,)) for number in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"{sum(counts)} calls")
    if wrong:
        raise wrong[0]
    assert len(counts) == CALLERS
    end_shared_pools()
