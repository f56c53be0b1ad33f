"""Functions of modules: by name where a worker finds the same one, else by value; and new code."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.scripts import finished, run, run_script

import pmap

if TYPE_CHECKING:
    from pmap._types import StartMethod

HEAD = """
import importlib, importlib.util, os, sys, time
from pathlib import Path
from pmap import Pool, pmap, restart, shutdown
pmap = pmap.using(processes=1, start_method={method!r})
here = Path({folder!r})
def write(name, text):
    path = here / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    # Its time is what tells Python that the file is another one.
    os.utime(path, (write.time, write.time))
    write.time += 10
    importlib.invalidate_caches()
write.time = time.time() - 10_000
MODULE = '''
LIMIT = 3
class Point:
    def __init__(self, x):
        self.x = x
def work(x):
    return Point(x + LIMIT)
'''
"""


def script(method: str, folder: Path, body: str) -> list[str]:
    return run_script(folder, HEAD.format(method=method, folder=str(folder)) + body)


def test_a_module_from_a_file_of_any_name(start_method: "StartMethod", tmp_path: Path) -> None:
    body = """
write("elsewhere/code.txt.py", MODULE)
spec = importlib.util.spec_from_file_location("loaded", here / "elsewhere" / "code.txt.py")
loaded = importlib.util.module_from_spec(spec)
sys.modules["loaded"] = loaded
spec.loader.exec_module(loaded)
print([(type(p) is loaded.Point, p.x) for p in pmap(loaded.work, [1, 2])])
loaded.LIMIT = 5
print([p.x for p in pmap(loaded.work, [1])], [p.x for p in pmap(lambda p: p, [loaded.Point(7)])])
"""
    found = script(start_method, tmp_path, body)
    assert found == ["[(True, 4), (True, 5)]", "[6] [7]"]


def test_a_module_from_an_entry_of_the_path_that_is_gone(
    start_method: "StartMethod", tmp_path: Path
) -> None:
    body = """
pmap(abs, [1])
write("extra/passing.py", MODULE)
sys.path.insert(0, str(here / "extra"))
import passing
print([p.x for p in pmap(passing.work, [1])])
sys.path.pop(0)
restart()
print([p.x for p in pmap(passing.work, [1])], type(pmap(passing.work, [1])[0]) is passing.Point)
"""
    assert script(start_method, tmp_path, body) == ["[4]", "[4] True"]


def test_a_relative_entry_and_another_directory(
    start_method: "StartMethod", tmp_path: Path
) -> None:
    body = """
os.chdir(here)
write("lib/relative.py", MODULE)
write("other/nothing.py", "")
sys.path.insert(0, "lib")
import relative
pmap(abs, [1])
os.chdir("other")
print([p.x for p in pmap(relative.work, [1])])
sys.path.insert(0, "")
os.chdir(here / "lib")
write("lib/second.py", MODULE)
import second
print([p.x for p in pmap(second.work, [1])])
os.chdir("..")
print([p.x for p in pmap(second.work, [1])])
"""
    assert script(start_method, tmp_path, body) == ["[4]", "[4]", "[4]"]


def test_one_module_after_another_of_the_same_number(
    start_method: "StartMethod", tmp_path: Path
) -> None:
    body = """
for number in range(3):
    write(f"elsewhere/plugin{number}.py", MODULE.replace("LIMIT = 3", f"LIMIT = {number}"))
    name = f"plug{number}"
    spec = importlib.util.spec_from_file_location(name, here / "elsewhere" / f"plugin{number}.py")
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[name] = loaded
    spec.loader.exec_module(loaded)
    print([p.x for p in pmap(loaded.work, [1])])
    del sys.modules[name]
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "made_by_a_finder":
            return importlib.util.spec_from_file_location(name, here / "elsewhere" / "plugin2.py")
sys.meta_path.append(Finder())
import made_by_a_finder
print([p.x for p in pmap(made_by_a_finder.work, [1])])
"""
    assert script(start_method, tmp_path, body) == ["[1]", "[2]", "[3]", "[3]"]


def test_a_package_that_is_a_program(start_method: "StartMethod", tmp_path: Path) -> None:
    folder = tmp_path / "program"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "other.py").write_text("VALUE = 5", encoding="utf-8")
    text = f"""
from pmap import pmap
def work(x):
    from . import other
    return other.VALUE + x
print(pmap(work, [1], processes=1, start_method={start_method!r}))
"""
    (folder / "__main__.py").write_text(text, encoding="utf-8")
    assert run(["-m", "program"], tmp_path) == "[6]\n"


def test_new_code_after_a_reload(start_method: "StartMethod", tmp_path: Path) -> None:
    body = """
sys.path.insert(0, str(here / "lib"))
write("lib/helper.py", "def value(): return 'old'")
write("lib/user.py", "import helper\\ndef work(x): return helper.value(), x")
import helper, user
def mine(x):
    return helper.value()
print(pmap(user.work, [1]), pmap(mine, [1]))
write("lib/helper.py", "def value(): return 'new'")
print(pmap(user.work, [1]))
importlib.reload(helper)
print(pmap(user.work, [1]), pmap(mine, [1]))
write("lib/helper.py", "def value(): return 'newer'")
del sys.modules["helper"]
import helper
print(pmap(mine, [1]))
with Pool(1) as pool:
    print(pool.map(mine, [1]))
    write("lib/helper.py", "def value(): return 'newest'")
    importlib.reload(helper)
    print(pool.map(mine, [1]))
"""
    assert script(start_method, tmp_path, body) == [
        "[('old', 1)] ['old']",
        "[('old', 1)]",
        "[('new', 1)] ['new']",
        "['newer']",
        "['newer']",
        "['newest']",
    ]


def test_code_that_autoreload_puts_into_the_old_module(tmp_path: Path) -> None:
    # IPython's own does not reload: it puts the code that was edited into what is there.
    body = """
import types
sys.modules["IPython.extensions.autoreload"] = types.ModuleType("autoreload")
sys.path.insert(0, str(here / "lib"))
write("lib/helper.py", "def value(x): return 'old'")
import helper
print(pmap(helper.value, [1]), pmap(lambda x: helper.value(x), [1]))
write("lib/helper.py", "def value(x): return 'new'")
helper.value.__code__ = (lambda x: "new").__code__
print(pmap(helper.value, [1]), pmap(lambda x: helper.value(x), [1]))
"""
    assert script("forkserver", tmp_path, body) == ["['old'] ['old']", "['new'] ['new']"]


def test_a_reload_while_items_run(tmp_path: Path) -> None:
    body = """
sys.path.insert(0, str(here / "lib"))
write("lib/helper.py", "def value(x): return 'old'")
import helper
from pmap import pmap
verb = pmap.using(processes=2)
later = verb.async_(helper.value, range(1000), chunksize=1)
write("lib/helper.py", "def value(x): return 'new'")
importlib.reload(helper)
print({*verb(helper.value, range(10))}, len(later.get()))
"""
    assert script("forkserver", tmp_path, body) == ["{'new'} 1000"]


def test_restart_and_shutdown(start_method: "StartMethod", tmp_path: Path) -> None:
    body = """
from tests.processes import descendants
restart(), shutdown()
cache = []
def pid_and_cache(x):
    cache.append(x)
    return os.getpid(), len(cache)
(first, one), = pmap(pid_and_cache, [1])
(second, two), = pmap(pid_and_cache, [1])
restart()
(third, three), = pmap(pid_and_cache, [1])
print(first == second != third, one, two, three)
shutdown()
print(descendants())
print(pmap(pid_and_cache, [1])[0][0] not in (first, third))
later = pmap.async_(time.sleep, [0.2])
restart()
shutdown()
print(later.get(), pmap(abs, [-1]))
"""
    assert script(start_method, tmp_path, body) == [
        "True 1 2 1",
        "set()",
        "True",
        "[None] [1]",
    ]


def test_under_pytest_with_another_import_mode(tmp_path: Path) -> None:
    test = """
from pmap import pmap
LIMIT = 3
class Point:
    def __init__(self, x):
        self.x = x
def work(x):
    return Point(x + LIMIT)
def test_it():
    assert [type(p) is Point and p.x for p in pmap(work, [1])] == [4]
    assert [type(p) is Point and p.x for p in pmap(lambda p: Point(p.x), [Point(1)])] == [1]
"""
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "test_own.py").write_text(test, encoding="utf-8")
    # Not this folder on the path, or the test's module would be found there.
    path = [str(Path(pmap.__file__).parents[1]), *[p for p in sys.path if "site-packages" in p]]
    options = ["-q", "--import-mode=importlib", "-p", "no:cacheprovider"]
    arguments = ["-m", "pytest", *options, str(folder)]
    done = finished(arguments, tmp_path, PYTHONPATH=os.pathsep.join(path))
    assert done.returncode == 0, done.stdout + done.stderr


BY_VALUE: Final = """
import sys, types
from pmap import pmap
one, two, more = types.ModuleType("one"), types.ModuleType("two"), types.ModuleType("two.more")
for module in (one, two, more):
    sys.modules[module.__name__] = module
two.more = more
exec('''
import two
LIMIT = 1
class A:
    def other(self): return two.B()
def f(x): return two.g(x) + LIMIT
''', vars(one))
exec('''
import one
K = 10
unused = open(__import__("os").devnull)
def g(x): return x * K + more.J
class B:
    def back(self): return one.A()
def __getattr__(name):
    return name * 2
''', vars(two))
more.J = 0
one_map = pmap.using(processes=1)
print(one_map(one.f, [1, 2]), one_map(lambda x: (two.g(x), two.more.J, two.late), [1]))
two.K, one.LIMIT, more.J = 20, 5, 100
print(one_map(one.f, [1, 2]))
back = one_map(lambda x: one.A().other().back(), [1])[0]
print(type(back) is one.A, one_map(lambda a: type(a) is one.A, [back]))
def imports(x):
    import two
    from one import f
    return two.K, f(x)
print(one_map(imports, [1]))
"""


def test_modules_by_value_use_one_another(tmp_path: Path) -> None:
    assert run_script(tmp_path, BY_VALUE) == [
        "[11, 21] [(10, 0, 'latelate')]",
        "[125, 145]",
        "True [True]",
        "[(20, 125)]",
    ]


GONE: Final = """
import os, sys
from pathlib import Path
from pmap import pmap, restart
helper = Path("helper_that_goes.py")
helper.write_text("def f(x): return x + 1")
import helper_that_goes
print(pmap(helper_that_goes.f, [1]))
helper.unlink()
restart()
print(pmap(helper_that_goes.f, [1]), pmap(lambda x: helper_that_goes.f(x), [2]))
"""


def test_a_module_whose_file_is_gone(tmp_path: Path) -> None:
    assert run_script(tmp_path, GONE) == ["[2]", "[2] [3]"]


# Each expression has to be True in a worker and here.
NAMELESS: Final = """
import dataclasses, enum, sys
from pathlib import Path
Path("makers.py").write_text('''
import dataclasses, enum
def made():
    class Color(enum.Enum):
        RED, BLUE = 1, 2
    class Flags(enum.Flag):
        A, B = 1, 2
    @dataclasses.dataclass
    class Row:
        color: Color = Color.RED
    return Color, Flags, Row
Color, Flags, Row = made()
MISSING = enum.Enum("MISSING", "MISSING").MISSING
''')
from makers import Color, Flags, Row, MISSING
from pmap import pmap
one = pmap.using(processes=1, start_method={method!r})
def default(x, color=Color.RED, mark=MISSING):
    return color is Color.RED, mark is MISSING, Color(2) is Color.BLUE, Row().color is x
print(one(default, [Color.RED]))
both = Flags.A | Flags.B
print(one(lambda x: (x, x is Flags.A | Flags.B), [both]) == [(both, True)])
back = one(lambda x: (x, Row()), [Row(Color.BLUE)])[0]
print([type(row) is Row for row in back], [row.color for row in back] == [Color.BLUE, Color.RED])
"""


def test_a_class_that_a_function_of_a_module_has_made(
    start_method: "StartMethod", tmp_path: Path
) -> None:
    assert run_script(tmp_path, NAMELESS.format(method=start_method)) == [
        "[(True, True, True, True)]",
        "True",
        "[True, True] True",
    ]


# As pytest's `Skipped` does, so that it is shown by a short name.
OTHERWISE: Final = """
import sys
from pathlib import Path
Path("outcomes.py").write_text('''
class Outcome(BaseException):
    def __init__(self, text):
        super().__init__(text)
class Skipped(Outcome):
    __module__ = "builtins"
    def __init__(self, text):
        super().__init__(text=text)
class Row:
    __module__ = "a.shorter.name"
    def __init__(self, x):
        super().__init__()
        self.x = x
def skip(text):
    raise Skipped(text)
''')
import outcomes
from pmap import pmap
one = pmap.using(processes=1, start_method={method!r})
row, cls = one(lambda row: (row, type(row) is outcomes.Row), [outcomes.Row(5)])[0], outcomes.Row
print(type(row[0]) is cls, row[0].x, row[1], one(lambda x: cls(x).x, [1]))
error = one.collecting(outcomes.skip, ["no"])[0].error
print(type(error.__cause__) is outcomes.Skipped, error.__cause__)
"""


def test_a_class_that_says_it_is_of_another_module(
    start_method: "StartMethod", tmp_path: Path
) -> None:
    assert run_script(tmp_path, OTHERWISE.format(method=start_method)) == [
        "True 5 True [1]",
        "True no",
    ]
