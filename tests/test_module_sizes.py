"""No module, class or function of the package is so large that one cannot read it at once."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

SOURCE: Final = Path(__file__).parents[1] / "src" / "pmap"

MOST_LINES: Final = 500  # of a module
MOST_METHODS: Final = 40  # of a class, an overloaded one once
MOST_ATTRIBUTES: Final = 25  # of an object, as its class assigns them
LONGEST: Final = 60  # lines of a function

# What may be larger, and why.
EXCEPTIONS: Final = {
    "__main__.py": "the tour, which prints and shows code that users read",
    "_api/result_stream.py": "the texts of a stream's methods, which users read",
    "_api/pool.py": "the signatures and texts of Pool's methods, which users read",
    "_calls/options.py": "the text of the options, which `help` shows",
}


def attributes_of(cls: ast.ClassDef) -> set[str]:
    """Return the names that the methods of a class assign to `self`."""
    return {
        node.attr
        for node in ast.walk(cls)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    }


def sizes_in(body: list[ast.stmt], before: str) -> Iterator[tuple[str, str]]:
    """Yield each class and function that is too large, and what is too much of it."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            name = f"{before} {node.name}"
            functions = [
                one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)
            ]
            methods = {one.name for one in functions}
            if len(methods) > MOST_METHODS:
                yield name, f"{len(methods)} methods"
            attributes = attributes_of(node)
            if len(attributes) > MOST_ATTRIBUTES:
                yield name, f"{len(attributes)} attributes"
            yield from (
                (found.replace(f"{name} ", f"{name}."), what)
                for found, what in sizes_in(node.body, name)
            )
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            if lines > LONGEST:
                yield f"{before} {node.name}", f"{lines} lines"
            yield from sizes_in(node.body, before)


def too_large(source: Path) -> Iterator[tuple[str, str]]:
    """Yield what is too large in a folder, and what is too much of it."""
    for path in sorted(source.rglob("*.py")):
        name = path.relative_to(source).as_posix()
        text = path.read_text(encoding="utf-8")
        lines = len(text.splitlines())
        if lines > MOST_LINES:
            yield name, f"{lines} lines"
        yield from sizes_in(ast.parse(text).body, name)


@pytest.fixture(scope="module")
def found() -> Mapping[str, str]:
    """What is too large in the package."""
    return dict(too_large(SOURCE))


def test_nothing_is_larger_than_it_may_be(found: Mapping[str, str]) -> None:
    assert {name: what for name, what in found.items() if name not in EXCEPTIONS} == {}


def test_each_exception_is_needed(found: Mapping[str, str]) -> None:
    assert EXCEPTIONS.keys() <= found.keys()


def test_what_is_too_large_is_seen(tmp_path: Path) -> None:
    many = "\n".join(f"    def f{n}(self):\n        self.a{n} = 0" for n in range(41))
    long = "\n".join(["    def long(self):", *["        pass"] * 60])
    padding = "# line\n" * 400
    (tmp_path / "m.py").write_text(f"class C:\n{many}\n{long}\n{padding}")
    assert [*too_large(tmp_path)] == [
        ("m.py", "544 lines"),
        ("m.py C", "42 methods"),
        ("m.py C", "41 attributes"),
        ("m.py C.long", "61 lines"),
    ]
    (tmp_path / "m.py").write_text(f"class C:\n{long[:-13]}\n")
    assert [*too_large(tmp_path)] == []
