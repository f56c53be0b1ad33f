"""What README.md and docs/ show is run; what a reader is told to type is what the CI runs."""

import doctest
import inspect
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import pytest
from _pytest.mark.structures import ParameterSet
from tests.limits import TIME_LIMIT

TOP: Final = Path(__file__).parents[2]


class Page:
    """A Markdown file and the blocks of code in it."""

    def __init__(self, path: str) -> None:
        self.path: Final = TOP / path
        self.text: Final = self.path.read_text(encoding="utf-8")
        # (language, text) of each fenced block
        self.blocks: Final[list[tuple[str, str]]] = re.findall(
            r"^```([\w{}-]*)\n(.*?)^```$", self.text, re.MULTILINE | re.DOTALL
        )
        python = self.of("python")
        self.scripts: Final = [text for text in python if ">>>" not in text]
        self.sessions: Final = [text for text in python if ">>>" in text]

    def of(self, language: str) -> list[str]:
        return [text for kind, text in self.blocks if kind == language]


# For libraries that a page shows and that are not in the `test` extra. What these draw would be in
# the way besides.
STAND_INS: Final = Path(__file__).parent / "stand_ins"
README: Final = Page("README.md")
PAGES: Final = [
    README,
    *(
        Page(str(path.relative_to(TOP)))
        for path in sorted((TOP / "docs").rglob("*.md"))
        if "_build" not in path.parts
    ),
]
TEXT: Final = README.text
SHELL: Final = README.of("sh")
# What is shown and not run: what is typed into a shell, files of settings, diagrams, and what tells
# the site's builder to put the reference there. Nothing: a picture made of letters.
SHOWN: Final = {"", "sh", "ini", "text", "mermaid", "{eval-rst}"}
# The modules that only the `docs` extra has.
IN_DOCS: Final = ("aiohttp", "starlette")


def named(page: Page) -> str:
    return page.path.relative_to(TOP).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_each_block_is_of_a_kind_that_is_run(page: Page) -> None:
    assert page.text.count("```") == 2 * len(page.blocks)
    languages = {language for language, _ in page.blocks}
    if page is README:
        assert languages == {"python", "sh"}
        assert page.scripts
        assert page.sessions
    assert languages - {"python"} <= SHOWN


def test_each_promise_names_a_test_that_is_there() -> None:
    table = (TOP / "docs" / "reliability.md").read_text(encoding="utf-8")
    promised = set(re.findall(r"\b(test_\w+)`", table))
    sources = (TOP / "tests").rglob("test_*.py")
    text = "".join(path.read_text(encoding="utf-8") for path in sources)
    there = set(re.findall(r"^def (test_\w+)", text, re.MULTILINE))
    assert len(promised) > 40
    assert promised - there == set()


def test_an_example_with_its_output_is_within_the_first_lines() -> None:
    first = "\n".join(TEXT.splitlines()[:15])
    assert "```python\n" + README.scripts[0] + "```" in first
    assert output_of(README.scripts[0])


def output_of(script: str) -> list[str]:
    """Return the output that the script's comments show."""
    return [line.removeprefix("# ") for line in script.splitlines() if line.startswith("# ")]


def together(page: Page) -> list[str]:
    """Return the scripts of a page, those of a how-to as one: it takes less time to run."""
    if page.path.parent.name != "howto" and page.path.stem != "tutorial":
        return page.scripts
    alone = [script for script in page.scripts if any(f"from {name}" in script for name in IN_DOCS)]
    others = [script for script in page.scripts if script not in alone]
    return [*alone, "\n".join(others)] if others else alone


def needs(script: str) -> list[pytest.MarkDecorator]:
    """Return the mark of a script for which a package of an extra is needed."""
    if "import ray" in script:
        return [pytest.mark.skip(reason="tests/engines/test_ray.py runs it: nox -s engines")]
    if "from mpi4py" in script:
        return [pytest.mark.skip(reason="tests/engines/test_mpi_program.py runs it")]
    if "from executorlib" in script and not find_spec("executorlib"):
        return [pytest.mark.skip(reason="the extra `engines` is not installed: nox -s engines")]
    if "from distributed" in script and not find_spec("distributed"):
        return [pytest.mark.skip(reason="the extra `engines` is not installed: nox -s engines")]
    if 'backend="interpreters"' in script and sys.version_info < (3, 14):
        return [pytest.mark.skip(reason="there are no interpreters before Python 3.14")]
    missing = [name for name in IN_DOCS if f"from {name}" in script and not find_spec(name)]
    reason = "the extra `docs` is not installed: nox -s docs"
    return [pytest.mark.skip(reason=reason)] if missing else []


def shown(blocks: Callable[[Page], list[str]]) -> list[ParameterSet]:
    """Return each of the blocks of each page, named by the page and its place."""
    return [
        pytest.param(text, id=f"{named(page)}-{number}", marks=needs(text))
        for page in PAGES
        for number, text in enumerate(blocks(page), 1)
    ]


@pytest.mark.parametrize("script", shown(together))
def test_a_script_prints_what_it_shows(script: str, tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    path.write_text(script, encoding="utf-8")
    shutil.copytree(STAND_INS, tmp_path, dirs_exist_ok=True)
    done = subprocess.run(
        [sys.executable, path],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(TOP / "src")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    assert done.stdout.splitlines() == output_of(script) != []


@pytest.mark.parametrize("session", shown(lambda page: page.sessions))
def test_a_session_answers_as_it_shows(session: str) -> None:
    test = doctest.DocTestParser().get_doctest(session, {}, "session", None, 0)
    said: list[str] = []
    ran = doctest.DocTestRunner().run(test, out=said.append)
    assert ran.attempted > 0
    assert ran.failed == 0, "".join(said)


def test_the_stand_in_takes_what_rich_takes() -> None:
    real = pytest.importorskip("rich.progress", reason="rich is in no extra: pip install rich")
    stand_in = runpy.run_path(str(STAND_INS / "rich" / "progress.py"))["Progress"]
    for name in ("add_task", "update"):
        ours = inspect.signature(getattr(stand_in, name)).parameters
        assert ours.keys() <= inspect.signature(getattr(real.Progress, name)).parameters.keys()


def test_two_commands_one_for_the_tour_and_one_for_the_tests() -> None:
    commands = [line for block in SHELL for line in block.splitlines()]
    install = r"python3 -m venv \.venv && \.venv/bin/python -m pip install -q"
    assert len(commands) == 2
    assert re.fullmatch(rf"{install} \. && \.venv/bin/python -m pmap", commands[0])
    tests = r"\.venv/bin/python -m pytest -n auto"
    assert re.fullmatch(rf"{install} -e '\.\[test\]' && {tests}", commands[1])


def ci(top: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [top / ".ci" / "run", *arguments],
        cwd=top.parent,
        input="not for the tests\n",
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        check=False,
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a tree with the CI's script, and no README yet."""
    (tmp_path / "tree" / ".ci").mkdir(parents=True)
    shutil.copy(TOP / ".ci" / "run", tmp_path / "tree" / ".ci" / "run")
    return tmp_path / "tree"


def test_the_ci_finds_the_command_for_the_tests() -> None:
    done = ci(TOP, "--print")
    assert (done.returncode, done.stdout) == (0, SHELL[1])


def test_the_ci_runs_what_the_readme_says(tree: Path) -> None:
    text = TEXT.replace(SHELL[1], "touch ran && cat && ls -a\n")
    (tree / "README.md").write_text(text, encoding="utf-8")
    done = ci(tree)
    assert done.returncode == 0
    assert done.stdout.split() == [".", "..", ".ci", "README.md", "ran"]


@pytest.mark.parametrize("command", ["exit 7", "(exit 7)\ntrue", "(exit 7) | cat"])
def test_the_ci_fails_when_the_command_does(tree: Path, command: str) -> None:
    (tree / "README.md").write_text(TEXT.replace(SHELL[1], command + "\n"), encoding="utf-8")
    assert ci(tree).returncode in (1, 7)


@pytest.mark.parametrize(
    "text",
    [
        "",
        TEXT.replace(SHELL[1], ""),
        TEXT.replace(SHELL[1], "  \n"),
        TEXT.replace("## Run the tests", "## Something else"),
        "## Run the tests\n\nNo block.\n\n## Another\n\n```sh\ntouch ran\n```\n",
    ],
)
def test_the_ci_fails_loudly_without_a_command(tree: Path, text: str) -> None:
    (tree / "README.md").write_text(text, encoding="utf-8")
    done = ci(tree)
    assert done.returncode == 1
    assert "README.md has no code block below" in done.stderr
    assert not (tree / "ran").exists()
