"""The packages of pmap form layers, and no imports form a circle.

Every import counts: those under ``TYPE_CHECKING`` and those inside functions, too.
"""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
SOURCE: Final = ROOT / "src"

# What each package may import besides itself.
GROUND: Final = {"_errors", "_types", "_multiprocessing_errors"}
BELOW: Final[dict[str, set[str]]] = {
    "_errors": {"_transport"},
    "_types": set(),
    "_multiprocessing_errors": {"_errors"},
    "_transport": set(),
    "_scheduling": set(),
    "_trace": set(),
    "_calls": {"_trace", "_transport", "_scheduling"} | GROUND,
    "_jobs": {"_calls", "_transport", "_scheduling"} | GROUND,
    "_checkpoint": {"_jobs", "_calls", "_transport"} | GROUND,
    "_worker": {"_transport"},
    "_backends": {"_worker", "_jobs", "_calls", "_transport"} | GROUND,
    "_engine": {"_backends", "_jobs", "_calls", "_trace", "_transport", "_scheduling"} | GROUND,
    "_explain": {"_jobs", "_calls", "_transport", "_scheduling"} | GROUND,
    "_api": {
        *("_explain", "_checkpoint", "_engine", "_backends", "_worker", "_jobs", "_calls"),
        *("_transport", "_scheduling"),
    }
    | GROUND,
    # A program that uses the library: "" is the public face.
    "_doctor": {"", "_backends", "_calls", "_transport"} | GROUND,
}

# Modules that import by a name made at run time, which no reading of imports can see.
DYNAMIC: Final = {
    "pmap": "is pickled as an import of itself",
    "pmap._doctor.machine": "asks for the versions of what is installed",
    "pmap._backends.engine.unpacking": "imports the pmap that it has unpacked",
    "pmap._backends.interpreters": "has an interpreter run the code with which a worker begins",
    "pmap._calls.ship_check": "looks where the files of a package are",
    "pmap._calls.progress_check": "looks whether tqdm is there",
    "pmap._transport.by_value.arriving": "imports what a function has as globals, and the script",
    "pmap._transport.by_value.globals_of": "compiles annotations that are strings",
    "pmap._transport.by_value.hints": "finds a context variable in the module of its pickle",
    "pmap._transport.by_value.kinds": "makes a lazy import",
    "pmap._transport.by_value.singles": "finds an object() in the module that has it",
    "pmap._transport.process_settings": "imports the module of a setting that has changed",
    "pmap._transport.shadows": "imports what the caller has of the standard library",
    "pmap._transport.started": "looks whether a module is being imported",
    "pmap._transport.process_role": "runs the package's __init__ when an item asks for a name",
}

# Imported only where it is running already, or where a program asks for what is its: whoever
# brought it has it.
BROUGHT: Final = {"trio", "numpy", "coverage"}
# In an extra each: imported for those who ask for what needs it.
EXTRAS: Final = {"tqdm": "progress"}


def modules(source: Path) -> dict[str, Path]:
    """Return every module below `source` by its name."""
    names = {path: path.relative_to(source).with_suffix("").parts for path in source.rglob("*.py")}
    return {
        ".".join(parts[:-1] if parts[-1] == "__init__" else parts): path
        for path, parts in names.items()
    }


def imported(name: str, path: Path) -> Iterator[tuple[str, str]]:
    """Yield (module, name in it or nothing) for each thing that a module imports, wherever."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")
            above = above[: len(above) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((base, alias.name) for alias in node.names)


def edges(imports: Mapping[str, Sequence[tuple[str, str]]]) -> dict[str, set[str]]:
    """Return which of the modules each of them imports."""
    graph: dict[str, set[str]] = {}
    for name, those in imports.items():
        graph[name] = set()
        for base, attribute in those:
            known = [one for one in (f"{base}.{attribute}", base) if one in imports]
            graph[name].update(known[:1])
            assert known or base.split(".")[0] != "pmap", f"{name} imports {base}.{attribute}"
    return graph


def package_of(name: str) -> str:
    """Return the package, or the module right below pmap, that a module is in."""
    return name.split(".")[1] if "." in name else ""


def circle(graph: Mapping[str, set[str]]) -> set[str]:
    """Return the modules that import each other in a circle, or that import such ones."""
    left = {name: set(belows) for name, belows in graph.items()}
    while free := {name for name, belows in left.items() if not belows & left.keys()}:
        left = {name: belows for name, belows in left.items() if name not in free}
    return set(left)


FOUND: Final = modules(SOURCE)
IMPORTS: Final = {name: list(imported(name, path)) for name, path in FOUND.items()}
GRAPH: Final = edges(IMPORTS)


def test_a_package_imports_only_from_packages_below_it() -> None:
    wrong = [
        f"{name} imports {below}"
        for name, belows in GRAPH.items()
        for below in belows
        if package_of(name) not in {"", "__main__", package_of(below)}
        and package_of(below) not in BELOW.get(package_of(name), set())
    ]
    assert not wrong, wrong


def test_only_the_face_the_errors_and_the_types_stand_outside_of_the_packages() -> None:
    flat = {package_of(name) for name in FOUND if name.count(".") < 2}
    assert flat == {"", "__main__", *BELOW}


def test_there_are_no_circles() -> None:
    assert not circle(GRAPH)


def test_only_named_modules_import_by_a_name_made_at_run_time() -> None:
    dynamic = re.compile(r"\b(importlib|__import__|runpy|exec|eval)\b")
    found = {name for name, path in FOUND.items() if dynamic.search(path.read_text("utf-8"))}
    assert found == DYNAMIC.keys()


def test_the_run_time_dependencies_are_those_declared() -> None:
    foreign = {base.split(".")[0] for those in IMPORTS.values() for base, _ in those}
    foreign -= {*sys.stdlib_module_names, "pmap"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    names = {re.split(r"[^\w-]", entry)[0] for entry in project["dependencies"]}
    assert {name.replace("_", "-") for name in foreign - BROUGHT - EXTRAS.keys()} == names
    for name, extra in EXTRAS.items():
        assert any(one.startswith(name) for one in project["optional-dependencies"][extra])
    page = (ROOT / "docs" / "decisions.md").read_text(encoding="utf-8")
    assert all(f"**{name}**" in page for name in names), "docs/decisions.md says why each is there"


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
    graph = edges({name: [*imported(name, path)] for name, path in modules(tmp_path).items()})
    assert graph == {
        "pmap": {"pmap.a"},
        "pmap.a": {"pmap.b", "pmap.c"},
        "pmap.b": {"pmap.backends.d"},
        "pmap.c": set(),
        "pmap.backends": set(),
        "pmap.backends.d": {"pmap.a", "pmap.backends"},
    }
    assert circle(graph) == {"pmap", "pmap.a", "pmap.b", "pmap.backends.d"}
