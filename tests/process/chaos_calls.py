"""The calls of test_chaos: what each is to give, and whether it did."""

import random
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.process.chaos_items import KINDS, Own, value_of

from pmap import CancelledError, Failure, Options, TaskTimeout, WorkerLost, WorkerStartError

TIMEOUT: Final = 0.3  # seconds, for items that have one
FORMS: Final = ("call", "async", "iter", "iter_unordered", "apply", "apply async")
FAILS: Final = frozenset({"raise", "exit", "forever"})  # acts that never return


@dataclass
class Call:
    """One call: what is asked, and what came of it."""

    path: str
    form: str
    star: bool
    kind: str
    size: int
    plan: dict[int, str]
    collecting: bool
    leave: bool  # whether it is cancelled, or its stream left, before its end
    options: Options
    answers: dict[int, object] = field(default_factory=dict[int, object])
    error: Exception | None = None
    left: bool = False  # before all results had come

    @property
    def tries(self) -> int:
        """How often an item may start."""
        retries = self.options.get("retries", 0)
        assert isinstance(retries, int)
        return 1 + retries


def draw(rng: random.Random, path: str, worker: Options) -> Call:
    """Return a random call for these workers."""
    form = rng.choice(FORMS)
    apply = form.startswith("apply")
    size = 1 if apply else rng.choice((0, 1, 2, 7, 7, 30, 30, 200, 2000))
    kind = rng.choice(KINDS)
    if kind == "big" or "isolate" in worker:
        size = min(size, 30)
    leave = form != "call" and form != "apply" and rng.random() < 0.3
    options = Options()
    if not apply and "isolate" in worker:
        options["chunksize"] = rng.choice((None, 1))
    elif not apply:
        options["chunksize"] = rng.choice((None, None, 1, 3, 50) if size <= 30 else (None, 50))
    if form.startswith("iter"):
        options["buffersize"] = rng.choice((None, None, 1, 10) if size <= 30 else (None, 500))
    if rng.random() < 0.3:
        options["timeout"] = TIMEOUT
    if rng.random() < 0.3:
        options["retries"] = rng.choice((1, 3))
        if rng.random() < 0.5:
            options["retry_on"] = WorkerLost, TaskTimeout, Own
    acts = ["pause", "pause", "pause", "raise", "exit", "raise once"]
    if "timeout" in options or leave:
        acts.append("forever")
    odd = rng.choice((0, 0, 0, 1, 3)) if size else 0
    plan = {rng.randrange(size): rng.choice(acts) for _ in range(odd)}
    # Most of the time so many that take a moment that there is something to hit.
    plan = dict.fromkeys(range(min(size, rng.choice((0, 5, 20)))), "pause") | plan
    collecting = not apply and rng.random() < 0.5
    star = not apply and rng.random() < 0.3
    return Call(path, form, star, kind, size, plan, collecting, leave, options)


def judge(call: Call) -> None:
    """Check that what came of a call is right, or honest."""
    failing = [index for index, act in call.plan.items() if act in FAILS]
    for index, answer in call.answers.items():
        if isinstance(answer, Failure):
            assert call.collecting
            assert answer.index == index
            assert 1 <= answer.attempts <= call.tries
            judge_error(call, answer.error, index)
        else:
            assert answer == value_of(call.kind, index)
            assert index not in failing
    error = call.error
    if error is None:
        assert call.left or len(call.answers) == call.size
        assert call.left or call.collecting or not failing
    elif isinstance(error, CancelledError):
        assert call.left
    elif not isinstance(error, WorkerStartError):  # three in a row fell before they were ready
        assert not call.collecting
        index = index_of(error)
        judge_error(call, error, index)
        # The first that failed, in the order of the input; of an unordered stream whichever.
        assert call.form == "iter_unordered" or index <= min(failing, default=index)
        assert index not in call.answers


def index_of(error: Exception) -> int:
    """Return the index of the item that an error is about."""
    index = error.args[0] if isinstance(error, Own) else getattr(error, "index", None)
    assert isinstance(index, int), "".join(traceback.format_exception(error))
    return index


def judge_error(call: Call, error: Exception, index: int) -> None:
    """Check that an item may have ended so. A lost worker is looked at with all others."""
    act = call.plan.get(index)
    if type(error) is Own:
        assert error.args == (index,)
        assert act in {"raise", "raise once"}
    elif type(error) is TaskTimeout:
        assert "timeout" in call.options
        assert error.index == index
    else:
        assert type(error) is WorkerLost, "".join(traceback.format_exception(error))
        assert error.index == index


def errors_of(call: Call) -> list[tuple[int, Exception]]:
    """Return all errors of items, with their indexes."""
    found = [(i, a.error) for i, a in call.answers.items() if isinstance(a, Failure)]
    if call.error is not None and not isinstance(call.error, CancelledError | WorkerStartError):
        found.append((index_of(call.error), call.error))
    return found


def judge_starts(call: Call) -> None:
    """Check how often each item began."""
    path = Path(call.path)
    text = path.read_text(encoding="ascii") if path.exists() else ""
    lines = [line.split() for line in text.splitlines()]
    began = Counter(int(index) for index, _ in lines)
    for index, times in began.items():
        assert times <= call.tries, f"item {index} began {times} times: {lines}, {call}"
        assert 0 <= index < call.size
    errors = dict(errors_of(call))
    for index, answer in call.answers.items():
        assert isinstance(answer, Failure) or began[index], f"item {index} never began: {call}"
    for index, error in errors.items():
        if isinstance(error, Own):
            assert began[index], f"item {index} never began: {call}"
        elif isinstance(error, WorkerLost) and not error.begun and call.tries == 1:
            assert not began[index], f"item {index} had begun: {call}"
