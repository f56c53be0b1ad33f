"""`main="import"`: workers import the script, and find what it defines by name."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from tests.limits import until
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


# --- how often it is imported --------------------------------------------------------------------

COUNTED: Final = """
import os, signal, sys, threading
from pathlib import Path
from pmap import Pool, WorkerLost, pmap, restart
import helper
{top}
VERSION = 1
def note():
    with open("runs", "a") as file:
        file.write(__name__ + "\\n")
note()
def runs():
    return Path("runs").read_text().split().count("__mp_main__")
def meet(barrier, x):
    barrier.wait(30)
    return os.getpid()
def end(x):
    os.kill(os.getpid(), signal.SIGKILL)
def both(x):
    return VERSION, helper.VERSION
if __name__ == "__main__":
    import multiprocessing
    method = {method!r}
    with multiprocessing.get_context("fork").Manager() as manager:
        verb = pmap.using(processes=4, main="import", start_method=method, chunksize=1)
        pids = verb(meet, [manager.Barrier(4)] * 4, range(4))
        print(len(set(pids)), runs())
        try:
            verb(end, [1])
        except WorkerLost:
            pass
        again = verb(meet, [manager.Barrier(4)] * 4, range(4))
        print(len(set(again) - set(pids)) > 0, runs())
"""


def counted(tmp_path: Path, method: str, top: str = "", more: str = "") -> list[str]:
    (tmp_path / "helper.py").write_text("VERSION = 1", encoding="utf-8")
    return run_script(tmp_path, COUNTED.format(method=method, top=top) + more)


def test_it_is_imported_once_for_all_workers_that_are_forked(
    start_method: "StartMethod", tmp_path: Path
) -> None:
    first, again = counted(tmp_path, start_method)
    # With spawn the fifth is the one that came for the one that was lost.
    wanted = {"forkserver": ("1", "1"), "spawn": ("4", "5"), "fork": ("0", "0")}[start_method]
    assert (first.split()[1], again.split()[1]) == wanted
    assert (first.split()[0], again.split()[0]) == ("4", "True")


def test_an_edit_of_the_script_or_of_its_modules_is_there_after_restart(tmp_path: Path) -> None:
    more = """
    print(verb(both, [1]))
    text = Path(__file__).read_text()
    Path(__file__).write_text(text.replace("VERSION = 1", "VERSION = 25"))
    restart()
    print(verb(both, [1]), runs())
    Path("helper.py").write_text("VERSION = 33")
    restart()
    print(verb(both, [1]), runs())
"""
    shown = counted(tmp_path, "forkserver", more=more)
    assert shown[2:] == ["[(1, 1)]", "[(25, 1)] 2", "[(25, 33)] 3"]


NOT_FORKED_OF: Final = {
    "a thread that goes on": "threading.Thread(target=threading.Event().wait, daemon=True).start()",
    "an exception in all but workers": "helper.once('raise ValueError')",
    "an end of the process": "helper.once('os._exit(3)')",
    "a signal": "helper.once('os.kill(os.getpid(), signal.SIGKILL)')",
}
ONCE: Final = """
import os, signal
VERSION = 1
def once(code):
    import __main__
    if __main__.__name__ == "__mp_main__" and not os.path.exists("begun"):
        open("begun", "w").close()
        exec(code)
"""


@pytest.mark.parametrize("top", NOT_FORKED_OF.values(), ids=NOT_FORKED_OF.keys())
def test_where_a_process_that_has_imported_it_cannot_be_forked_each_worker_imports_it(
    top: str, tmp_path: Path
) -> None:
    (tmp_path / "helper.py").write_text(ONCE, encoding="utf-8")
    text = COUNTED.format(method="forkserver", top=top)
    first, again = run_script(tmp_path, text)
    imported = 1 if "thread" in top.lower() else 0
    assert (first, again) == (f"4 {4 + imported}", f"True {5 + imported}")


SAID: Final = """
import logging, os, sys, warnings
from pmap import pmap
if __name__ == "__main__":
    logging.basicConfig(level="INFO", stream=sys.stdout, format="%(message)s")
    warnings.simplefilter("always")
    warnings.showwarning = lambda message, *rest: print("warned", message)
else:
    print("printed")
    logging.info("logged")
    warnings.warn("careful")
    os.environ["OF_THE_SCRIPT"] = "1"
    if os.fork() == 0:
        print("of a child")
def look(x):
    print("item", x, flush=True)
    return os.environ.get("OF_THE_SCRIPT")
if __name__ == "__main__":
    print(pmap(look, [1, 2], processes=2, main="import"))
"""


def test_what_it_says_comes_home_once(tmp_path: Path) -> None:
    shown = [line for line in run_script(tmp_path, SAID) if line != "of a child"]
    assert sorted(shown[:3]) == ["logged", "printed", "warned careful"]
    assert sorted(shown[3:]) == ["['1', '1']", "item 1", "item 2"]


ENDED: Final = """
import atexit, os, subprocess, sys, time
from pathlib import Path
from pmap import pmap
if __name__ != "__main__":
    child = subprocess.Popen(["sleep", "1000"])
    Path("pids").write_text("%d %d" % (os.getpid(), child.pid))
    atexit.register(lambda: Path("left").open("a").write("x"))
    {last}
if __name__ == "__main__":
    import threading
    print(pmap.async_(abs, [-1], processes=1, main="import"){what})
"""


@pytest.mark.parametrize(
    ("last", "what", "left"),
    [("pass", ".get()", "x"), ("time.sleep(1000)", " and not time.sleep(1)", "")],
    ids=["in order", "in the midst of the import"],
)
def test_nothing_is_left_of_it(last: str, what: str, left: str, tmp_path: Path) -> None:
    assert len(run_script(tmp_path, ENDED.format(last=last, what=what))) == 1
    until(lambda: not any(map(is_alive, (tmp_path / "pids").read_text().split())))
    found = tmp_path / "left"
    assert (found.read_text() if found.exists() else "") == left


def is_alive(pid: str) -> bool:
    return Path(f"/proc/{pid}").exists()
