"""The invariants of the scheduler: each is in the documentation, is checked, and can be broken."""

import re
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any, Final

import pytest
from tests.property import test_scheduler_machine as machine
from tests.property.simulated import checks
from tests.property.simulated.world import World

from pmap._scheduling.job_endings import JobEndings
from pmap._scheduling.scheduler import Scheduler
from pmap._scheduling.state import Job
from pmap._scheduling.workers import Workers

DOCS: Final = Path(__file__).parents[2] / "docs"
PATH: Final = "tests/property/simulated/checks.py"
CHECKS: Final = {
    name: value
    for name, value in vars(checks).items()
    if isinstance(value, FunctionType)
    and value.__module__ == checks.__name__
    # That of the module's annotations, in Python 3.14.
    and name != "__annotate__"
}
WALKS: Final = (machine.walk, machine.walk_of_calls, machine.walk_of_backlogs)
START: Final = Workers.start


def test_the_documentation_names_each_invariant_once() -> None:
    texts = [path.read_text(encoding="utf-8") for path in DOCS.rglob("*.md")]
    (text,) = [text for text in texts if PATH in text]
    text = text.partition(PATH)[2]
    heads = re.findall(r"^- ((?:`\w+`(?:,\s+|:))+)", text, re.MULTILINE)
    names = [name for head in heads for name in re.findall(r"`(\w+)`", head)]
    assert sorted(names) == sorted(CHECKS)


def test_walks_check_each_invariant(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Counter[str]()
    worlds: list[World] = []

    class Kept(World):
        """A world that can be looked at when its walk is over."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            worlds.append(self)

    def counted(name: str, check: Callable[..., None]) -> Callable[..., None]:
        def count(*args: object) -> None:
            made[name] += 1
            check(*args)

        return count

    for name, check in CHECKS.items():
        monkeypatch.setattr(checks, name, counted(name, check))
    monkeypatch.setattr(machine, "World", Kept)
    for seed in range(300):
        for walk in WALKS:
            walk(seed)
        if made.keys() == CHECKS.keys():
            break
    assert made.keys() == CHECKS.keys()
    drivers = [world.driver for world in worlds]
    assert any(driver.reclaimed for driver in drivers)
    assert any(driver.split for driver in drivers)
    assert any(driver.batches for driver in drivers)


def start_one_too_many(workers: Workers, wanted: int) -> None:
    """Start a worker more than there may be."""
    workers.limit += 1
    START(workers, wanted)
    workers.limit -= 1


def do_nothing(*_: object) -> None:
    """Do nothing."""


def never(_: object) -> bool:
    """Return that it is not so."""
    return False


# What is put in the place of a part of the scheduler, and the invariant that it breaks.
FAULTS: Final[list[tuple[type, str, object, str]]] = [
    (Workers, "start", start_one_too_many, "no_more_workers_than_the_limit"),
    (Workers, "idle_or_stop", do_nothing, "no_worker_is_idle_while_work_waits"),
    (JobEndings, "_drop_from", do_nothing, "nothing_dispatched_after_a_failure"),
    (Scheduler, "alarm", None, "tick_is_wanted_in_time"),
    (Job, "unfinished", never, "ends_complete"),
    (Job, "has_begun", never, "what_has_begun_is_not_withdrawn"),
]


@pytest.mark.parametrize(
    ("owner", "name", "value", "invariant"), FAULTS, ids=[fault[3] for fault in FAULTS]
)
def test_a_fault_breaks_the_invariant_of_its_name(
    owner: type, name: str, value: object, invariant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, value)
    walks = ((walk, seed) for seed in range(300) for walk in WALKS)
    assert any(invariant in invariants_broken_by(walk, seed) for walk, seed in walks)


def invariants_broken_by(walk: Callable[[int], None], seed: int) -> list[str]:
    """Return the check in which a walk fails, if it fails in one."""
    try:
        walk(seed)
    except AssertionError as error:
        names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
        return [name for name in names if name in CHECKS]
    return []
