"""A bare `object()`, which is known by its identity only, is one object in every process."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from tests.scripts import run

from pmap._transport.by_value import singles
from pmap._transport.importable import may_refer_by_value
from pmap._transport.values import dumps, loads

if TYPE_CHECKING:
    from pmap._types import StartMethod

SCRIPT: Final = """
import helper
from dataclasses import dataclass
from pmap import Pool, papply, pmap
MISSING = object()
class Own:
    MARK = object()
OTHERS = {{"a": object()}}
@dataclass
class Data:
    x: object
def is_it(x): return x is MISSING
def inside(x): return x[0] is MISSING, x[1]["a"] is MISSING, x[2].x is MISSING
def give(_): return MISSING, [MISSING], Data(MISSING), helper.GONE
def same(x): return x
def by_default(x, y=MISSING): return x is y is MISSING
def marked(x): return x is Own.MARK
def other(x): return x is OTHERS["a"]
def outer():
    here = object()
    return here, lambda x: x is here
def check(method):
    verb = pmap.using(processes=2, start_method=method)
    yield verb(is_it, [MISSING, object(), None]) == [True, False, False]
    yield verb(inside, [(MISSING, {{"a": MISSING}}, Data(MISSING))]) == [(True, True, True)]
    one, some, data, gone = verb(give, [1])[0]
    yield one is some[0] is data.x is MISSING and gone is helper.GONE
    yield all(verb(by_default, [MISSING]) + verb(marked, [Own.MARK]) + verb(other, [OTHERS["a"]]))
    here, closure = outer()
    yield verb(closure, [here, object()]) == [True, False]
    yield verb(lambda x: x is MISSING, [MISSING]) == [True]
    local = object()
    yield verb(same, [local, [local]])[1][0] is local is verb(same, [local])[0]
    yield verb(helper.is_gone, [helper.GONE, MISSING]) == [True, False]
    with Pool(1) as pool:
        yield pool.apply(is_it, (MISSING,)) and pool.apply(same, (MISSING,)) is MISSING
print(*[all(check(method)) for method in {methods!r}])
"""
HELPER: Final = "GONE = object()\ndef is_gone(x): return x is GONE\n"


def test_it_is_one_object_there_and_back(start_method: "StartMethod", tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text(HELPER, encoding="utf-8")
    text = SCRIPT.format(methods=[start_method])
    (tmp_path / "program.py").write_text(text, encoding="utf-8")
    assert run(["program.py"], tmp_path) == "True\n"


@pytest.mark.parametrize("way", ["-c", "-"])
def test_it_is_in_a_program_that_is_no_file(way: str, tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text(HELPER, encoding="utf-8")
    text = SCRIPT.format(methods=["forkserver"])
    arguments, stdin = ([way, text], None) if way == "-c" else ([way], text)
    assert run(arguments, tmp_path, stdin) == "True\n"


IMPORTED: Final = """
from pmap import pmap
MISSING = object()
def is_it(x): return x is MISSING
def give(x): return MISSING, x
if __name__ == "__main__":
    late = object()
    for method in ("spawn", "forkserver", "fork"):
        verb = pmap.using(processes=1, start_method=method, main="import")
        back, there = verb(give, [late])[0]
        print(verb(is_it, [MISSING, late]), back is MISSING, there is late)
"""


def test_it_is_where_workers_import_the_script(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(IMPORTED, encoding="utf-8")
    assert run(["program.py"], tmp_path) == "[True, False] True True\n" * 3


def test_few_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(singles, "_MOST_BARE", 5)
    monkeypatch.setattr(singles, "_bare", {})
    monkeypatch.setattr(singles, "_bare_by_key", {})
    some = [object() for _ in range(20)]
    sent = [dumps(one) for one in some]
    assert len(singles._bare) == len(singles._bare_by_key) == 5
    back = [loads(data) for data in sent[-5:]]
    assert all(one is other for one, other in zip(back, some[-5:], strict=True))


def test_nothing_else_takes_the_slower_road() -> None:
    for value in ({"type": "object"}, [object, "object"], "object", [1, {"a": b")\x81"}]):
        assert not may_refer_by_value(dumps(value))
    assert may_refer_by_value(b"\x8c\x08builtins\x94\x8c\x06object\x94\x93\x94)\x81\x94")
