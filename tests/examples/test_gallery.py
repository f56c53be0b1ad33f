"""The programs of ``examples/gallery``: what they find, and that they say so if it is wrong.

Each is run with little to do. Those that need packages that are not in the `test` extra are
skipped without them; ``nox -s gallery`` runs all.
"""

import re
import sysconfig
from collections.abc import Callable
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Final, NamedTuple
from xml.etree import ElementTree as ET

import pytest
from tests.scripts import finished, run

TOP: Final = Path(__file__).parents[2]
GALLERY: Final = TOP / "examples" / "gallery"
README: Final = TOP / "examples" / "README.md"
STDLIB: Final = Path(sysconfig.get_path("stdlib"))


def numbers(pattern: str, printed: str) -> list[float]:
    """Return the numbers that the groups of a pattern match in what was printed."""
    found = re.search(pattern, printed, re.MULTILINE)
    assert found, f"there is no {pattern!r} in:\n{printed}"
    return [float(group) for group in found.groups()]


# --- what each program finds ---------------------------------------------------------------------


def compress(printed: str) -> None:
    files, before, after = numbers(r"^(\d+) files, ([\d.]+) MB, .* to ([\d.]+) MB$", printed)
    assert files >= 5
    assert 0.3 < before < 1
    assert after < before / 2


def crawl(printed: str) -> None:
    pages, links = numbers(r"^(\d+) pages, (\d+) links$", printed)
    assert pages == 40
    assert links > pages
    broken = re.findall(r"^(\d+) are broken: (.*)$", printed, re.MULTILINE)
    source = (STDLIB / "pydoc.py").read_text("utf-8")
    assert "import sys\n" in source
    assert not (STDLIB / "sys.py").exists()
    assert "/sys" in broken[0][1].split(", ")


def groups(printed: str) -> None:
    count, rows, resamples = numbers(r"^(\d+) groups, (\d+) rows, (\d+) resamples", printed)
    assert (count, resamples) == (3, 20)
    first = printed.splitlines()[1].split()
    modules = list((STDLIB / first[0]).glob("*.py"))
    assert int(first[1]) == len(modules) <= rows
    median, low, high = map(float, first[2:])
    lines = sorted(path.read_bytes().count(b"\n") for path in modules)
    assert median == (lines[(len(lines) - 1) // 2] + lines[len(lines) // 2]) / 2
    assert low <= median <= high


def hyperparameters(printed: str) -> None:
    settings, images = numbers(r"^(\d+) settings, on (\d+) images$", printed)
    assert (settings, images) == (4, 400)
    (percent,) = numbers(r"^best: C=1, gamma=.*: ([\d.]+)% are recognised$", printed)
    assert percent > 80


def memory(printed: str) -> None:
    (first,) = numbers(r"at first: ([\d.]+) MB$", printed)
    (children,) = numbers(r"in children: ([\d.]+) MB", printed)
    (loop,) = numbers(r"in a serial loop: ([\d.]+) MB", printed)
    assert children - first < (loop - first) / 2
    assert re.search(r"most common: self \d+", printed)


def monte_carlo(printed: str) -> None:
    price, error, courses = numbers(r"^price (.*), standard error (.*), of (\d+) c", printed)
    assert courses == 4 * 4000
    # By the closed form, the geometric mean costs 5.1: the arithmetic one a little more.
    assert 5.1 - 4 * error < price < 5.5 + 4 * error
    assert "the same in 4 batches of 3 workers: True\n" in printed


def search(printed: str) -> None:
    hits, files = numbers(r"^(\d+) comments in (\d+) files match self$", printed)
    shown = re.findall(r"^(\S+\.py):(\d+): (#.*)$", printed, re.MULTILINE)
    assert files == 40
    assert hits >= len(shown) == 3
    for path, line, comment in shown:
        assert comment in (STDLIB / path).read_text("utf-8").splitlines()[int(line) - 1]
        assert "self" in comment
    (read,) = numbers(r"^the first hit came .* with (\d+) files read$", printed)
    assert read <= files


def thumbnails(printed: str) -> None:
    assert "4 images of 240 x 160 pixels" in printed
    count, _ = numbers(r"^(\d+) thumbnails, ([\d.]+) MB$", printed)
    assert count == 4


def web_service(printed: str) -> None:
    number, *factors = map(int, re.findall(r"\d+", printed.splitlines()[0]))
    assert len(factors) > 1
    assert number == prod(factors)
    assert "4 requests answered, 1 cancelled: its client hung up\n" in printed


class Program(NamedTuple):
    """How a program is run here."""

    arguments: tuple[str, ...]
    check: Callable[[str], None]
    # A line of it that is changed so that its result is wrong.
    right: str
    wrong: str
    package: str | None = None


PROGRAMS: Final = {
    "compress": Program(
        ("0.4",),
        compress,
        'path.open("wb") as file:',
        'path.open("wb") as file:\n'
        "        file.write(lzma.compress(b'' if path.name[0] == 'o' else b'\\0' * 512))",
    ),
    "crawl": Program(("40",), crawl, "many.collecting(links, pages)", "[[] for _ in pages]"),
    "groups": Program(
        ("3", "20"),
        groups,
        "parallel = pmap(summary, groups)",
        "parallel = pmap(summary, groups[::-1])",
        "pandas",
    ),
    "hyperparameters": Program(
        ("4",),
        hyperparameters,
        "parallel = pstarmap(accuracy, SETTINGS)",
        "parallel = pstarmap(accuracy, SETTINGS[::-1])",
        "sklearn",
    ),
    "memory": Program(
        ("2", "25"), memory, "pmap(names, tasks, isolate=True)", "pmap(names, tasks[::-1])"
    ),
    "monte_carlo": Program(("4",), monte_carlo, "chunksize=1)", "chunksize=1)[::-1]"),
    "search": Program(("40", "self"), search, "found += some", "found += some[1:]"),
    "thumbnails": Program(
        ("4",), thumbnails, "pmap(thumbnail, paths)", "pmap(thumbnail, paths[::-1])", "PIL"
    ),
    "web_service": Program(("4",), web_service, "work.result()", "work.result()[::-1]"),
}


@pytest.fixture(params=PROGRAMS)
def name(request: pytest.FixtureRequest) -> str:
    """Each program whose packages are there."""
    assert isinstance(request.param, str)
    package = PROGRAMS[request.param].package
    if package is not None and find_spec(package) is None:
        pytest.skip(f"{package} is not installed: nox -s gallery")
    return request.param


def test_a_program_finds_what_it_says(name: str, tmp_path: Path) -> None:
    program = PROGRAMS[name]
    printed = run([str(GALLERY / f"{name}.py"), *program.arguments], tmp_path)
    program.check(printed)
    form = re.sub(r"[\d.]+", "#", printed.splitlines()[-1])
    assert form in re.sub(r"[\d.]+", "#", README.read_text("utf-8")).splitlines()


def test_a_wrong_result_is_seen(name: str, tmp_path: Path) -> None:
    program = PROGRAMS[name]
    text = (GALLERY / f"{name}.py").read_text("utf-8")
    assert text.count(program.right) == 1
    script = tmp_path / f"{name}.py"
    script.write_text(text.replace(program.right, program.wrong), "utf-8")
    done = finished([str(script), *program.arguments], tmp_path)
    assert done.returncode == 1
    assert re.fullmatch(r"the \w+ (is|are) not (that|those) of the serial \w+\n", done.stderr)


def test_each_program_is_here_and_in_the_readme() -> None:
    assert sorted(path.stem for path in GALLERY.glob("*.py")) == sorted(PROGRAMS)
    heading = r"^## .*\n\n\[(\w+)\.py\]\(gallery/\1\.py\)"
    described = re.findall(heading, README.read_text("utf-8"), re.MULTILINE)
    assert sorted(described) == sorted(PROGRAMS)


def test_each_program_has_its_picture(name: str) -> None:
    path = TOP / "docs" / "figures" / "gallery" / f"{name}.svg"
    assert f"](../{path.relative_to(TOP)})" in README.read_text("utf-8")
    picture = path.read_text("utf-8")
    drawn = {element.get("class") for element in ET.fromstring(picture).iter()}
    assert {"item", "waiting", "transport"} <= drawn
    assert len(picture) < 80_000


def test_a_picture_is_drawn_of_a_program_as_it_is(tmp_path: Path) -> None:
    run(["-m", "benchmarks.gallery", "--into", str(tmp_path), "search", "20"], TOP)
    picture = ET.fromstring((tmp_path / "search.svg").read_text("utf-8"))
    assert picture[0].text == "pmap(hits)"
