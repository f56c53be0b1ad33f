"""What the pages in docs/ say of files, names in the code, tests and each other is there."""

import ast
import builtins
import re
import typing
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

TOP: Final = Path(__file__).parents[1]
DOCS: Final = TOP / "docs"
PACKAGE: Final = TOP / "src" / "pmap"
ARCHITECTURE: Final = DOCS / "architecture.md"
LAWS: Final = DOCS / "laws.md"
INTERNALS: Final = sorted((DOCS / "internals").glob("*.md"))
INSIDE: Final = [ARCHITECTURE, LAWS, DOCS / "decisions.md", *INTERNALS]
PAGES: Final = [*sorted(DOCS.rglob("*.md")), TOP / "README.md", TOP / "CONTRIBUTING.md"]

# `_engine/state.py::EngineState.enter` is below src/pmap, `tests/leaks.py::Leftovers` at the top.
_MODULE: Final = (
    r"(?<![\w/.])((?:_\w+/)(?:\w+/)*\w+\.py|_\w+\.py|(?:tests|benchmarks|src)/[\w/]+\.py)"
)
REFERENCE: Final = re.compile(_MODULE + r"(?:::(\w+(?:\.\w+)*))?")
# A path in another folder, or of another kind of file.
_PATH: Final = re.compile(r"(?<![\w/])((?:tests|src|benchmarks|docs)/[\w/]*\w\.\w+)")
_TEST: Final = re.compile(r"\b(test_\w+)\b(?!\.py|/)")
# `StreamJob`, `Backend.poll` or `READY`, in whatever module of ours it is, or a class of Python's.
_NAME: Final = re.compile(r"`([A-Z][a-zA-Z]+(?:\.\w+)?)`")
_PYTHONS: Final = frozenset({*vars(builtins), *vars(typing), "BrokenProcessPool"})
_LINK: Final = re.compile(r"\]\(([^)\s:]+)\)")


def pages(names: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("page", names, ids=lambda page: str(page.relative_to(TOP)))


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@cache
def all_tests() -> frozenset[str]:
    """Return the names of all tests."""
    sources = map(read, (TOP / "tests").rglob("*.py"))
    return frozenset(name for text in sources for name in re.findall(r"\bdef (test_\w+)", text))


@cache
def names_in(module: Path) -> frozenset[str]:
    """Return what a module defines; what a class defines stands behind its name and a dot."""
    return frozenset(_defined(ast.parse(read(module)).body, ""))


def _defined(body: list[ast.stmt], before: str) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield before + node.name
            yield from _defined(node.body, f"{before}{node.name}.")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield before + node.name
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield before + node.target.id
        elif isinstance(node, ast.Assign):
            targets = [part for target in node.targets for part in ast.walk(target)]
            yield from (before + part.id for part in targets if isinstance(part, ast.Name))
        elif isinstance(node, ast.If | ast.Try):
            yield from _defined([*node.body, *node.orelse], before)


def module_of(path: str) -> Path:
    return PACKAGE / path if path.startswith("_") else TOP / path


def missing(text: str) -> list[str]:
    """Return the modules that a text refers to and that are not there, and the names in them."""
    wrong: list[str] = []
    for path, name in REFERENCE.findall(text):
        module = module_of(path)
        if not module.exists():
            wrong.append(path)
        elif name and name not in names_in(module):
            wrong.append(f"{path}::{name}")
    return wrong


def rows(text: str, heading: str) -> list[list[str]]:
    """Return the cells of the table behind a heading, without its head."""
    lines = text.partition(f"## {heading}\n")[2].partition("\n## ")[0].splitlines()
    table = [line.strip("|").split(" | ") for line in lines if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in table[2:]]


def anchors(text: str) -> set[str]:
    """Return what a link may have behind its `#`: the headings, as GitHub writes them."""
    headings = re.findall(
        r"^#+ (.*)$",
        re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL),
        re.MULTILINE,
    )
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


# --- what a page names ---------------------------------------------------------------------------


@pages(PAGES)
def test_the_files_and_tests_that_a_page_names_are_there(page: Path) -> None:
    text = read(page)
    assert [path for path in _PATH.findall(text) if not (TOP / path).exists()] == []
    assert {*_TEST.findall(text)} - all_tests() == set()


@pages(PAGES)
def test_the_names_in_the_code_that_a_page_gives_are_there(page: Path) -> None:
    assert missing(read(page)) == []


@pages(INSIDE)
def test_the_classes_that_a_page_speaks_of_are_there(page: Path) -> None:
    there = _PYTHONS.union(*map(names_in, PACKAGE.rglob("*.py")))
    assert {*_NAME.findall(read(page))} - there == set()


@pages(PAGES)
def test_a_link_leads_to_what_is_there(page: Path) -> None:
    for link in _LINK.findall(read(page)):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(read(target)), link


# --- that nothing is left out --------------------------------------------------------------------


def test_each_question_leads_to_a_name_in_the_code() -> None:
    table = rows(read(ARCHITECTURE), "Where to find it")
    assert len(table) > 15
    for question, answer in table:
        assert question.endswith("?")
        assert REFERENCE.search(answer), question


def test_each_law_and_each_promise_names_a_test() -> None:
    laws = read(LAWS).partition("\n| law |")[2].partition("\n\n")[0].splitlines()[2:]
    assert [int(law.strip("| ").partition(".")[0]) for law in laws] == [*range(1, 11)]
    promises = [
        row[1] for page in INTERNALS for row in rows(read(page), "Promises and their tests")
    ]
    for tests in [*laws, *promises]:
        named = [name for path, name in REFERENCE.findall(tests) if path.startswith("tests/")]
        assert any(name.startswith("test_") for name in named), tests


@pages(INTERNALS)
def test_a_page_about_the_inside_has_promises_and_is_found(page: Path) -> None:
    assert rows(read(page), "Promises and their tests")
    assert f"](internals/{page.name})" in read(ARCHITECTURE)


@pytest.mark.parametrize(("module", "head"), [("events", "event"), ("commands", "command")])
def test_all_that_the_scheduler_hears_and_says_is_explained(module: str, head: str) -> None:
    text = read(DOCS / "internals" / "scheduling.md").partition(f"\n| {head} (")[2]
    explained = re.findall(
        r"`(\w+)`", "".join(re.findall(r"^\| (.*?) \|", text.partition("\n\n")[0], re.MULTILINE))
    )
    classes = ast.parse(read(PACKAGE / "_scheduling" / f"{module}.py")).body
    there = [node.name for node in classes if isinstance(node, ast.ClassDef)]
    assert sorted(explained) == sorted({*there} - {"Terms"})


def test_all_that_a_backend_must_have_is_explained() -> None:
    table = rows(read(DOCS / "internals" / "backends.md"), "What a backend does")
    body = ast.parse(read(PACKAGE / "_backends" / "protocol.py")).body
    (backend,) = [
        node for node in body if isinstance(node, ast.ClassDef) and node.name == "Backend"
    ]
    methods = [node for node in backend.body if isinstance(node, ast.FunctionDef)]
    abstract = [
        method.name
        for method in methods
        if any(ast.unparse(one) == "abstractmethod" for one in method.decorator_list)
    ]
    assert sorted(row[0].strip("`") for row in table) == sorted(abstract)


def test_the_tree_of_errors_has_all_of_them() -> None:
    tree = re.findall(r"── (\w+)", read(DOCS / "internals" / "failures.md"))
    modules = [
        ast.parse(read(PACKAGE / f"{name}.py")) for name in ("_errors", "_multiprocessing_errors")
    ]
    classes = [
        node.name for module in modules for node in module.body if isinstance(node, ast.ClassDef)
    ]
    assert sorted(["PmapError", *tree]) == sorted(classes)


# --- that the reading itself sees what it should -------------------------------------------------


def test_what_is_not_there_is_seen() -> None:
    good = (
        "`_engine/state.py::EngineState.enter`, (tests/test_docs.py::missing), _types.py::Backend."
    )
    assert missing(good) == []
    bad = "_engine/state.py::EngineState.entr _engine/stat.py _engine/state.py::enter"
    assert missing(bad) == [
        "_engine/state.py::EngineState.entr",
        "_engine/stat.py",
        "_engine/state.py::enter",
    ]


def test_headings_are_seen_as_github_names_them() -> None:
    assert anchors("# A, `b` c\n```\n# no\n```\n## X-y 2\n") == {"a-b-c", "x-y-2"}
