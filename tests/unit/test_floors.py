"""The house has strict floors, and the table in ``docs/design.md`` is the plan of it.

A module imports only from floors below its own, ``TYPE_CHECKING`` blocks and imports inside
functions included. The rule is the same within ``backends``: a module there stands on the floor
that the table gives it.
"""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
SOURCE: Final = ROOT / "src"
DESIGN: Final = ROOT / "docs" / "design.md"

# Imports that go up, by (importer, imported), each with its reason. There are none.
UPWARDS: Final[dict[tuple[str, str], str]] = {}

# Modules that import by a name made at run time, which no reading of imports can see.
DYNAMIC: Final = {
    "pmap._by_value": "finds a context variable in the module that its pickle names",
    "pmap._plainly": "imports a module that a function of __main__ has as a global",
    "pmap._process": "runs the package's __init__ in a worker, when an item asks it for a name",
}

# Imported only where it is running already, so that whoever brought it has it.
BROUGHT: Final = {"trio"}

# | 3 | `_child` | what runs inside a worker |
ROW: Final = re.compile(r"^\| *(\d+) *\| *((?:`[\w.]+`(?:, )?)+) *\|", re.MULTILINE)


def modules(source: Path) -> dict[str, Path]:
    """Return every module below `source` by its name."""
    found: dict[str, Path] = {}
    for path in sorted(source.rglob("*.py")):
        parts = path.relative_to(source).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(name: str, path: Path, text: str) -> Iterator[tuple[str, str]]:
    """Yield (module, name in it or nothing) for each thing that a module imports, wherever."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")
                above = above[: len(above) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            yield from ((base, alias.name) for alias in node.names)


def edges(found: Mapping[str, Path]) -> dict[str, set[str]]:
    """Return which of the modules `found` each of them imports."""
    graph: dict[str, set[str]] = {}
    for name, path in found.items():
        graph[name] = set()
        for base, attribute in imported(name, path, path.read_text(encoding="utf-8")):
            whole = f"{base}.{attribute}"
            if whole in found:
                graph[name].add(whole)
            elif base in found:
                graph[name].add(base)
            elif base.split(".")[0] == "pmap":
                raise AssertionError(f"{name} imports {whole}, which is no module of ours")
    return graph


def plan(text: str) -> dict[str, int]:
    """Return the floor of each module, as the table in the text says."""
    floors: dict[str, int] = {}
    for number, names in ROW.findall(text):
        for name in re.findall(r"`([\w.]+)`", names):
            module = "pmap" if name == "__init__" else f"pmap.{name}"
            assert module not in floors, f"{name} is on two floors"
            floors[module] = int(number)
    return floors


def upwards(graph: Mapping[str, set[str]], floors: Mapping[str, int]) -> list[tuple[str, str]]:
    """Return the imports that do not go to a floor below."""
    return [
        (name, below)
        for name, belows in graph.items()
        for below in sorted(belows)
        if name in floors and below in floors and floors[below] >= floors[name]
    ]


def circle(graph: Mapping[str, set[str]]) -> set[str]:
    """Return the modules that import each other in a circle, or that import such ones."""
    left = {name: set(belows) for name, belows in graph.items()}
    while free := {name for name, belows in left.items() if not belows & left.keys()}:
        left = {name: belows for name, belows in left.items() if name not in free}
    return set(left)


FOUND: Final = modules(SOURCE)
GRAPH: Final = edges(FOUND)


@pytest.fixture(scope="module")
def floors() -> dict[str, int]:
    return plan(DESIGN.read_text(encoding="utf-8"))


def test_every_module_has_a_floor(floors: dict[str, int]) -> None:
    without = sorted(FOUND.keys() - floors.keys())
    assert not without, f"the table of floors in docs/design.md lacks {without}"


def test_every_row_names_modules_that_exist(floors: dict[str, int]) -> None:
    gone = sorted(floors.keys() - FOUND.keys())
    assert not gone, f"the table of floors in docs/design.md names {gone}, which do not exist"


def test_the_floors_are_numbered_from_the_ground_up(floors: dict[str, int]) -> None:
    assert sorted(set(floors.values())) == list(range(max(floors.values()) + 1))


def test_a_module_imports_only_from_floors_below(floors: dict[str, int]) -> None:
    wrong = [
        f"{name} (floor {floors[name]}) imports {below} (floor {floors[below]})"
        for name, below in upwards(GRAPH, floors)
        if (name, below) not in UPWARDS
    ]
    assert not wrong, "\n".join(wrong)


def test_each_exception_is_still_one(floors: dict[str, int]) -> None:
    assert UPWARDS.keys() <= set(upwards(GRAPH, floors))


def test_there_are_no_circles() -> None:
    assert not circle(GRAPH)


def test_no_module_stands_higher_than_it_must(floors: dict[str, int]) -> None:
    # Else the table would say less than the code does.
    lowest = {
        name: 1 + max((floors[below] for below in belows if below in floors), default=-1)
        for name, belows in GRAPH.items()
        if name in floors
    }
    high = {name: (floors[name], low) for name, low in lowest.items() if floors[name] > low}
    assert not high, f"(floor in the table, lowest possible): {high}"


def test_only_named_modules_import_by_a_name_made_at_run_time() -> None:
    found = {
        name
        for name, path in FOUND.items()
        if re.search(r"\b(importlib|__import__|runpy|exec|eval)\b", path.read_text("utf-8"))
    }
    assert found == DYNAMIC.keys()


def test_the_run_time_dependencies_are_those_declared() -> None:
    foreign = {
        base.split(".")[0]
        for name, path in FOUND.items()
        for base, _ in imported(name, path, path.read_text(encoding="utf-8"))
    } - {*sys.stdlib_module_names, "pmap"}
    declared: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
        "dependencies"
    ]
    names = {re.split(r"[^\w-]", entry)[0] for entry in declared}
    assert {name.replace("_", "-") for name in foreign - BROUGHT} == names
    design = DESIGN.read_text(encoding="utf-8")
    assert all(f"**{name}**" in design for name in names), "docs/design.md says why each is there"


# --- that the reading itself sees what it should -------------------------------------------------


def test_all_kinds_of_imports_are_seen(tmp_path: Path) -> None:
    package = tmp_path / "pmap"
    (package / "backends").mkdir(parents=True)
    (package / "__init__.py").write_text("from .a import x\n")
    (package / "a.py").write_text(
        "if TYPE_CHECKING:\n    from .b import T\n\ndef f():\n    from . import c\n"
    )
    (package / "b.py").write_text("import pmap.backends.d as d\n")
    (package / "c.py").write_text("import os\n")
    (package / "backends" / "__init__.py").write_text("")
    (package / "backends" / "d.py").write_text("from .. import a\nfrom . import Ready\n")
    graph = edges(modules(tmp_path))
    assert graph == {
        "pmap": {"pmap.a"},
        "pmap.a": {"pmap.b", "pmap.c"},
        "pmap.b": {"pmap.backends.d"},
        "pmap.c": set(),
        "pmap.backends": set(),
        "pmap.backends.d": {"pmap.a", "pmap.backends"},
    }
    assert circle(graph) == {"pmap", "pmap.a", "pmap.b", "pmap.backends.d"}


def test_an_import_of_the_same_floor_or_of_one_above_goes_upwards() -> None:
    graph = {"a": {"b", "c"}, "b": {"c"}, "c": {"a"}}
    assert upwards(graph, {"a": 1, "b": 1, "c": 0}) == [("a", "b"), ("c", "a")]


def test_the_table_is_read() -> None:
    text = "| floor | modules |\n|---|---|\n| 1 | `a`, `backends.b` | what |\n| 0 | `__init__` |\n"
    assert plan(text) == {"pmap.a": 1, "pmap.backends.b": 1, "pmap": 0}
