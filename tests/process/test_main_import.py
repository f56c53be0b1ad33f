"""`main="import"`: workers import the script, and find what it defines by name."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from tests.scripts import finished, run, run_script

if TYPE_CHECKING:
    from pmap._types import StartMethod

SCRIPT: Final = """
import ctypes, enum, multiprocessing, os, pickle, sys, threading
from pmap import Pool, pmap, share, sync
print("top", __name__) if __name__ != "__mp_main__" else None
lock = threading.Lock()
registry = {{}}
def mapped(cls):
    registry[cls.__name__] = cls
    return cls
class Pair(ctypes.Structure):
    _fields_ = [("a", ctypes.c_int)]
@mapped
class Model:
    lock = threading.Lock()
    class Kind(enum.Enum):
        A = 1
    def __init__(self, x):
        self.x = x
    def go(self):
        with lock, self.lock:
            return self.x + 1
value = 1
def use(model):
    import __main__
    here = __main__.Model is Model is registry["Model"], pickle.loads(pickle.dumps(use)) is use
    return model.go(), Pair(3).a, type(model) is Model, here, value, __name__
def back(x):
    return Model(x), Model.Kind.A, use, Pair
def take(handle, key):
    return handle.value[key]
begun = None
def begin(x):
    global begun
    begun = x
def end(_):
    return begun
if __name__ == "__main__":
    method = {method!r}
    verb = pmap.using(processes=2, main="import", start_method=method)
    value = 1
    name = "__main__" if method == "fork" else "__mp_main__"
    wanted = [(n + 1, 3, True, (True, True), 1, name) for n in (1, 2)]
    print(verb(use, [Model(1), Model(2)]) == wanted)
    model, kind, function, pair = verb(back, [5])[0]
    print(type(model) is Model, model.x, kind is Model.Kind.A, function is use, pair is Pair)
    print(verb(lambda model: (model.x, Model(7).go()), [Model(6)]))
    table = share({{"a": 1}})
    print(verb(take, [table], ["a"]))
    with Pool(2, begin, (4,), context=multiprocessing.get_context(method), main="import") as pool:
        print(pool.map(end, [1, 2]))
"""
SHOWN: Final = [
    "top __main__",
    "True",
    "True 5 True True True",
    "[(6, 8)]",
    "[1]",
    "[4, 4]",
]


def test_as_a_file(start_method: "StartMethod", tmp_path: Path) -> None:
    assert run_script(tmp_path, SCRIPT.format(method=start_method)) == SHOWN


def test_as_a_module_of_a_package(start_method: "StartMethod", tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    (tmp_path / "package" / "other.py").write_text("NUMBER = 5", encoding="utf-8")
    text = "from .other import NUMBER" + SCRIPT.format(method=start_method)
    (tmp_path / "package" / "program.py").write_text(text, encoding="utf-8")
    assert run(["-m", "package.program"], tmp_path).splitlines() == SHOWN


REFUSED: Final = {
    "no guard": ("print(pmap(abs, [1], main='import'))", "line 3 "),
    "in another form": (
        "if __name__ != '__main__':\n    pass\nelse:\n    pmap(abs, [1], main='import')",
        "line 6 ",
    ),
    "in the other branch": (
        "if __name__ == '__main__':\n    pass\nif True:\n    pmap(abs, [1], main='import')",
        "line 6 ",
    ),
    "another call has none": (
        "if __name__ == '__main__':\n    pmap(abs, [1], main='import')\nx = pmap(abs, [1])",
        "line 5 ",
    ),
    "a pool has none": (
        "if __name__ == '__main__':\n    pmap(abs, [1], main='import')\np = pmap_module.Pool(1)",
        "line 5 ",
    ),
    "in a function that is called there": (
        "def f():\n    pmap(abs, [1], main='import')\nf()",
        "line 5 ",
    ),
}
WRAP: Final = """from pmap import OptionError, pmap
import pmap as pmap_module
{body}
"""


@pytest.mark.parametrize(("body", "line"), REFUSED.values(), ids=REFUSED.keys())
def test_what_would_start_workers_in_workers_is_refused(
    body: str, line: str, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(WRAP.format(body=body), encoding="utf-8")
    done = finished([str(script)], tmp_path)
    assert done.returncode == 1
    assert "OptionError: " in done.stderr
    assert f"each worker would run {line}" in done.stderr
    assert 'put it behind if __name__ == "__main__":' in done.stderr


def test_a_program_that_is_no_file_is_refused(tmp_path: Path) -> None:
    code = "from pmap import pmap, OptionError\ntry:\n    pmap(abs, [1], main='import')\n"
    code += "except OptionError as error:\n    print(error)\n"
    for shown in (run(["-c", code], tmp_path), run(["-"], tmp_path, stdin=code)):
        assert "workers can import a script that is a file" in shown


def test_a_script_that_cannot_be_imported_says_so(tmp_path: Path) -> None:
    text = """
from pmap import WorkerStartError, pmap
if __name__ != "__main__":
    raise ValueError("not here")
if __name__ == "__main__":
    try:
        pmap(abs, [1], main="import")
    except WorkerStartError as error:
        print("not here" in str(error))
"""
    assert run_script(tmp_path, text) == ["True"]
    assert sys.modules["__main__"] is not None
