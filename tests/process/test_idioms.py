# ruff: noqa: E501 - the lines of programs in strings
"""Programs in the idioms of ``multiprocessing``, unchanged but for the import of `Pool`.

Each runs with both, with every start method, and prints the same.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from tests.scripts import run

if TYPE_CHECKING:
    from pmap._types import StartMethod

PROGRAMS: Final = {
    "a global that the initializer sets": """
counter = None
def begin(start, step=1):
    global counter
    counter = [start, step]
def work(x):
    counter[0] += counter[1]
    return x * counter[1]
def state(_):
    return counter
if __name__ == "__main__":
    with Pool(1, initializer=begin, initargs=(10, 2)) as pool:
        print(pool.map(work, range(3)), pool.map(state, [0]))
        print(pool.apply(state, (0,)))
""",
    "a model that is loaded once": """
class Model:
    loaded = 0
    def __init__(self, name):
        Model.loaded += 1
        self.name = name
    def __call__(self, x):
        return f"{self.name}{x}"
_model = None
def model():
    global _model
    if _model is None:
        _model = Model("m")
    return _model
def predict(x):
    return model()(x), Model.loaded
if __name__ == "__main__":
    with Pool(1) as pool:
        print(pool.map(predict, range(3)), [*pool.imap(predict, range(3), chunksize=2)])
""",
    "callbacks": """
results, errors = [], []
def work(x, scale=1):
    if x == 2:
        raise ValueError(x)
    return x * scale
if __name__ == "__main__":
    with Pool(2) as pool:
        for x in range(4):
            pool.apply_async(work, (x,), {"scale": 10}, results.append, errors.append)
        pool.close()
        pool.join()
    print(sorted(results), [repr(error) for error in errors])
""",
    "several arguments": """
import functools
def power(base, exponent, plus=0):
    return base ** exponent + plus
class Scaled:
    def __init__(self, factor):
        self.factor = factor
    def method(self, x):
        return x * self.factor
    @classmethod
    def of(cls, x):
        return cls(x).method(x)
    @staticmethod
    def static(x):
        return -x
if __name__ == "__main__":
    with Pool(2) as pool:
        print(pool.starmap(power, [(2, 3), (3, 2)]), pool.map(functools.partial(power, 2), [1, 2]))
        print(pool.map(Scaled(3).method, [1, 2]), pool.map(Scaled.of, [2]), pool.map(Scaled.static, [2]))
        print(sorted(pool.imap_unordered(functools.partial(power, exponent=2), range(4))))
        later = pool.map_async(abs, [-1, -2])
        later.wait()
        print(later.ready(), later.successful(), later.get(timeout=10))
""",
    "objects of the script": """
import collections, dataclasses, enum
class Kind(enum.Enum):
    GOOD = 1
    BAD = 2
@dataclasses.dataclass
class Job:
    name: str
    kind: Kind = Kind.GOOD
    tags: list = dataclasses.field(default_factory=list)
Result = collections.namedtuple("Result", "job size")
class Failed(Exception):
    pass
def run(job):
    if job.kind is Kind.BAD:
        raise Failed(job.name)
    job.tags.append("seen")
    return Result(job, len(job.name))
if __name__ == "__main__":
    with Pool(2) as pool:
        found = pool.map(run, [Job("a"), Job("bb")])
        print(found, type(found[0]) is Result, type(found[0].job) is Job)
        try:
            pool.map(run, [Job("c", Kind.BAD)])
        except Failed as error:
            print("failed", error, found[0].job.kind is Kind.GOOD)
""",
    "time is up": """
import time, multiprocessing
if __name__ == "__main__":
    with Pool(1) as pool:
        later = pool.apply_async(time.sleep, (10,))
        try:
            later.get(timeout=0.05)
        except multiprocessing.TimeoutError:
            print("too late")
""",
    "workers that are replaced": """
import os
seen = []
def work(x):
    seen.append(x)
    return len(seen)
if __name__ == "__main__":
    with Pool(1, maxtasksperchild=2) as pool:
        print(pool.map(work, range(6), chunksize=1))
""",
}
HEAD: Final = {
    "multiprocessing": "import multiprocessing\nmultiprocessing.set_start_method({!r})\n"
    "from multiprocessing import Pool\n",
    "pmap": "import multiprocessing, functools, pmap\n"
    "Pool = functools.partial(pmap.Pool, context=multiprocessing.get_context({!r}))\n",
}


def guarded(head: str) -> str:
    """Return the head of a program whose first lines run once only."""
    first, *rest = head.splitlines()
    lines = [f"if __name__ == '__main__':\n    {line}" if "set_" in line else line for line in rest]
    return "\n".join([first, *lines])


@pytest.mark.parametrize("text", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_an_idiom(start_method: "StartMethod", text: str, tmp_path: Path) -> None:
    shown: list[str] = []
    for which, head in HEAD.items():
        script = tmp_path / f"with_{which}.py"
        script.write_text(guarded(head.format(start_method)) + "\n" + text, encoding="utf-8")
        shown.append(run([str(script)], tmp_path))
    assert shown[0] == shown[1] != ""
