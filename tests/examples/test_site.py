"""The documentation site, without building it: its reference, options, tables and pages."""

import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

import pmap
from pmap import OptionError, Options
from pmap._calls.options import Settings, in_force
from pmap._calls.options import merge as merge_options

from .test_tour import TABLE, cells

TOP: Final = Path(__file__).parents[2]
DOCS: Final = TOP / "docs"
REFERENCE: Final = sorted((DOCS / "reference").glob("*.md"))
DIRECTIVE: Final = re.compile(r"^\.\. auto(\w+):: pmap\.(\w+)(?:\((.*)\))?$", re.MULTILINE)
OPTIONS: Final = (DOCS / "reference" / "options.md").read_text("utf-8")


def directives() -> list[tuple[str, str, str]]:
    text = "\n".join(page.read_text("utf-8") for page in REFERENCE)
    return DIRECTIVE.findall(text)


# --- the reference -------------------------------------------------------------------------------


def test_the_reference_has_each_public_name_once() -> None:
    assert sorted(name for _, name, _ in directives()) == sorted(pmap.__all__)


def kind(thing: object) -> str:
    if isinstance(thing, type):
        return "exception" if issubclass(thing, Exception) else "class"
    return "function" if callable(thing) else "data"


def test_each_name_is_documented_as_what_it_is() -> None:
    wrong = [name for said, name, _ in directives() if said != kind(getattr(pmap, name))]
    assert wrong == []


def test_each_signature_that_a_page_writes_itself_is_that_of_the_function() -> None:
    written = {name: text for said, name, text in directives() if said == "function" and text}
    assert {"pmap", "pstarmap", "papply", "pcall", "pmap_async", "pimap"} <= set(written)
    for name, text in written.items():
        made: dict[str, object] = {}
        exec(f"def made({text}): ...", made)
        public: Callable[..., object] = getattr(pmap, name)
        options = set(Options.__annotations__)
        real = [p for p in parameters(public) if p not in options]
        assert [p for p in parameters(made["made"]) if p != "options"] == real, name


def parameters(function: object) -> list[str]:
    assert callable(function)
    return list(inspect.signature(function).parameters)


# --- the options ---------------------------------------------------------------------------------

SECTION: Final = re.compile(r"^### (\w+)\n(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
SECTIONS: Final = dict(SECTION.findall(OPTIONS))
DEFAULTS: Final = in_force(Settings())


def test_the_page_of_options_has_each_of_them_in_their_order() -> None:
    assert list(SECTIONS) == list(Options.__annotations__)


class Elsewhere(Executor):
    """An engine that does not run its tasks on this machine."""


@pytest.mark.parametrize("name", Options.__annotations__)
def test_an_option_has_unit_default_and_example(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mypackage").mkdir()
    (tmp_path / "mypackage/__init__.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    unit, default, example = re.findall(
        r"^- \*\*(?:Unit|Default|Example):\*\* (.*)$", SECTIONS[name], re.MULTILINE
    )
    assert unit
    # What the option is by default comes first, then what that means.
    shown = re.match(r"`(.*?)`", default)
    assert shown
    assert shown[1].replace('"', "'") == repr(DEFAULTS[name])
    code = re.fullmatch(r"`(.*)`", example)
    assert code
    given: dict[str, object] = {}
    with pmap.ThreadPool(1) as pool:
        # The call itself is not made: what counts is that its options are allowed.
        names: dict[str, object] = {
            "f": abs,
            "xs": [],
            "paths": [],
            "write_file": abs,
            "load_model": abs,
            "executor": ThreadPoolExecutor(1),
            "engine": Elsewhere(),
        }
        verb = Recorder(given)
        verbs = {"pmap": verb, "pimap": verb, "pmap_async": verb}
        eval(code[1], {**names, "connect": abs, "pool": pool, **verbs})
        assert name in given
        merge_options(Settings(), given)


class Recorder:
    """Stands for a verb, and notes its options."""

    def __init__(self, given: dict[str, object]) -> None:
        self.given: Final = given

    @property
    def collecting(self) -> "Recorder":
        return self

    def __call__(self, f: object, xs: object, **options: object) -> None:
        self.given.update(options)


def test_an_example_with_an_option_that_is_none_would_be_found() -> None:
    given: dict[str, object] = {}
    Recorder(given)(abs, [], n_jobs=2)
    with pytest.raises(OptionError):
        merge_options(Settings(), given)


# --- the tables that are measured ----------------------------------------------------------------


def measured(name: str) -> list[list[str]]:
    command = [sys.executable, str(DOCS / "_ext" / "measured.py"), name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return rows(done.stdout)


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|") and "---" not in line]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def shown(name: str) -> list[list[str]]:
    """Return the table as the tutorial shows it on the forge."""
    text = (DOCS / "tutorial.md").read_text("utf-8")
    found = re.search(rf"<!-- measured: {name} -->\n(.*?)<!-- end -->", text, re.DOTALL)
    assert found
    return rows(found[1])


def test_the_table_of_the_six_methods_is_as_measured() -> None:
    with ThreadPoolExecutor(2) as both:
        standard, own = both.map(measured, ["pool-methods", "own-pool-methods"])
    assert standard == shown("pool-methods")
    assert [row[0] for row in standard[1:]] == [
        f"`Pool.{name}`"
        for name in ("apply", "apply_async", "map", "map_async", "starmap", "starmap_async")
    ]
    # Ours is a drop-in: only the names of its handles are its own.
    assert [row[:-1] for row in own] == [row[:-1] for row in standard]


def test_the_table_of_verbs_is_the_one_that_the_tour_measures() -> None:
    expected = [cells(line) for line in TABLE.strip().splitlines()]
    assert [[cell.strip("`") for cell in row] for row in shown("verbs")[1:]] == expected


# --- the pages -----------------------------------------------------------------------------------


def test_each_page_is_in_the_table_of_contents() -> None:
    index = (DOCS / "index.md").read_text("utf-8")
    trees = "\n".join(re.findall(r"^:::\{toctree\}\n(.*?)^:::$", index, re.MULTILINE | re.DOTALL))
    listed = {
        path
        for entry in re.findall(r"^([\w/*-]+)$", trees, re.MULTILINE)
        for path in DOCS.glob(f"{entry}.md")
    }
    pages = {path for path in DOCS.rglob("*.md") if "_build" not in path.parts}
    assert pages - listed == {DOCS / "index.md"}


def test_what_a_worker_does_not_see_is_said_where_the_promise_is_made() -> None:
    readme = (TOP / "README.md").read_text("utf-8")
    promise = re.search(r"- \*\*No surprise\.\*\*(.*?)^- ", readme, re.MULTILINE | re.DOTALL)
    assert promise
    for unseen in ("imported module", "patch", "argument", "stays in"):
        assert unseen in promise[1]


def test_the_readme_is_one_screen() -> None:
    lines = (TOP / "README.md").read_text("utf-8").splitlines()
    assert len(lines) <= 100
