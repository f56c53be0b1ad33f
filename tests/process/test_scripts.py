"""Whole programs: without a guard, started in every way, in places where maps are not expected.

Each must print what it should, say nothing on stderr, end in time, and leave nothing, with every
start method.
"""

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.scripts import program, run, run_script

if TYPE_CHECKING:
    from pmap._types import StartMethod


# --- ways to start -----------------------------------------------------------------------------

UNGUARDED: Final = """
    import os
    from dataclasses import dataclass
    from functools import partial

    print("once", flush=True)

    @dataclass(frozen=True)
    class Point:
        x: int
        def scaled(self, by):
            return Point(self.x * by)

    class Adder:
        def __init__(self, n):
            self.n = n
        def add(self, x):
            return self.n + x
        def __call__(self, x):
            return self.n - x

    def square(x):
        return x * x

    def outer(n):
        def inner(x):
            return helper(x) + n
        return inner

    def helper(x):
        return 10 * x

    print(pmap(square, range(4)))
    print(pmap(lambda x: x + 1, range(4)))
    print(pmap(outer(3), range(4)))
    print(pmap(partial(pow, 2), range(4)))
    print(pmap(partial(lambda a, b: a - b, b=1), range(4)))
    print(pmap(Adder(5).add, range(4)))
    print(pmap(Adder(5), range(4)))
    points = pmap(Point, range(3))
    print(points, all(type(p) is Point for p in points), points[0] == Point(0))
    moved = pmap(Point.scaled, points, [2, 3, 4])
    print([p.x for p in moved], all(isinstance(p, Point) for p in moved))
    print(pstarmap(lambda x, y: (y, x), zip("ab", "cd")))
    print(papply(lambda *, key: key, key=Point(7)) == Point(7))
    print(all(pid != os.getpid() for pid in pmap(lambda _: os.getpid(), range(3))))
    class Mine(Exception):
        def __init__(self, a, b):
            super().__init__(a)
            self.b = b
    def fail(x):
        raise Mine(x, "b")
    try:
        pmap(fail, [1])
    except Mine as error:
        print("caught", error.args, error.b)
"""
EXPECTED: Final = """\
once
[0, 1, 4, 9]
[1, 2, 3, 4]
[3, 13, 23, 33]
[1, 2, 4, 8]
[-1, 0, 1, 2]
[5, 6, 7, 8]
[5, 4, 3, 2]
[Point(x=0), Point(x=1), Point(x=2)] True True
[0, 3, 8] True
[('c', 'a'), ('d', 'b')]
True
True
caught (1,) b
"""


def test_as_a_file(start_method: "StartMethod", tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(program(start_method, UNGUARDED), encoding="utf-8")
    assert run(["script.py"], tmp_path) == EXPECTED


def test_from_stdin(start_method: "StartMethod", tmp_path: Path) -> None:
    assert run(["-"], tmp_path, stdin=program(start_method, UNGUARDED)) == EXPECTED


def test_from_the_command_line(start_method: "StartMethod", tmp_path: Path) -> None:
    assert run(["-c", program(start_method, UNGUARDED)], tmp_path) == EXPECTED


def test_as_a_module(start_method: "StartMethod", tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "part.py").write_text(program(start_method, UNGUARDED), encoding="utf-8")
    assert run(["-m", "package.part"], tmp_path) == EXPECTED


def test_as_a_package(start_method: "StartMethod", tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "own.py").write_text("def third(x):\n    return x / 3\n", encoding="utf-8")
    text = program(start_method, UNGUARDED) + "from .own import third\nprint(pmap(third, [3]))\n"
    (package / "__main__.py").write_text(text, encoding="utf-8")
    assert run(["-m", "package"], tmp_path) == EXPECTED + "[1.0]\n"


def test_as_a_directory(start_method: "StartMethod", tmp_path: Path) -> None:
    folder = tmp_path / "program"
    folder.mkdir()
    (folder / "beside.py").write_text("def third(x):\n    return x / 3\n", encoding="utf-8")
    text = program(start_method, UNGUARDED) + "import beside\nprint(pmap(beside.third, [3]))\n"
    (folder / "__main__.py").write_text(text, encoding="utf-8")
    assert run(["program"], tmp_path) == EXPECTED + "[1.0]\n"


def test_as_a_zip(start_method: "StartMethod", tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "program.zip", "w") as file:
        file.writestr("beside.py", "def third(x):\n    return x / 3\n")
        file.writestr(
            "__main__.py",
            program(start_method, UNGUARDED) + "import beside\nprint(pmap(beside.third, [3]))\n",
        )
    assert run(["program.zip"], tmp_path) == EXPECTED + "[1.0]\n"


# --- what may change between two calls ---------------------------------------------------------

CHANGES: Final = """
    import contextvars
    level = 1
    def f(x):
        return x + level
    print(pmap(f, [0]))
    level = 2
    print(pmap(f, [0]))
    def f(x):
        return -x
    print(pmap(f, [5]))
    class C:
        tag = "old"
    make = lambda _: C()
    first = pmap(make, [0])[0]
    print(type(first) is C, first.tag)
    class C:
        tag = "new"
    second = pmap(make, [0])[0]
    print(type(second) is C, second.tag)
    os.mkdir("below")
    os.chdir("below")
    os.environ["PMAP_TEST"] = "here"
    sys.path.insert(0, os.getcwd())
    open("late.py", "w").write("def half(x): return x / 2\\n")
    import late
    print(pmap(late.half, [3]), pmap(lambda _: os.path.basename(os.getcwd()), [0]))
    print(pmap(lambda _: os.environ.get("PMAP_TEST"), [0]))
    del os.environ["PMAP_TEST"]
    print(pmap(lambda _: os.environ.get("PMAP_TEST"), [0]))
    var = contextvars.ContextVar("var", default="default")
    print(pmap(lambda _: var.get(), [0]))
    var.set("set")
    print(pmap(lambda _: var.get(), [0]))
    def count(x):
        global level
        level += 1
        return level
    print(pmap(count, [0]), level)
"""


def test_changes_between_calls(start_method: "StartMethod", tmp_path: Path) -> None:
    assert run_script(tmp_path, program(start_method, CHANGES)) == [
        "[1]",
        "[2]",
        "[-5]",
        "True old",
        "True new",
        "[1.5] ['below']",
        "['here']",
        "[None]",
        "['default']",
        "['set']",
        "[3] 2",
    ]
