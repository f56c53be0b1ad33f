"""``python -m pmap``: that it runs, quietly and in time, and that what it measures is promised."""

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from functools import partial
from operator import call
from pathlib import Path
from typing import Final

import pytest

from pmap import Pool
from pmap import __main__ as tour

TOP: Final = Path(__file__).parents[2]
# Seconds: on two idle cores it takes less than 15, but tests may share theirs with others.
LIMIT: Final = 75

TABLE: Final = """
pmap                     yes                yes  yes  input       list[str]
pmap.async_              yes                yes  no   input       AsyncResult[list[str]]
pmap.iter                yes                yes  no   input       ResultStream[str]
pmap.iter_unordered      yes                yes  no   completion  ResultStream[str]
pstarmap                 yes                yes  yes  input       list[str]
pstarmap.async_          yes                yes  no   input       AsyncResult[list[str]]
pstarmap.iter            yes                yes  no   input       ResultStream[str]
pstarmap.iter_unordered  yes                yes  no   completion  ResultStream[str]
papply                   yes, keywords too  no   yes  -           str
papply.async_            yes, keywords too  yes  no   -           AsyncResult[str]
"""

FORMS: Final = [
    "pmap",
    "pmap.async_",
    "pmap.iter, bit by bit",
    "pmap.collecting",
    "pmap.using(...)",
    "pstarmap",
    "pstarmap.async_, awaited",
    "papply.async_, 8 calls",
    "papply, to merge all",
]


def cells(line: str) -> list[str]:
    return re.split(r" {2,}", line.strip())


def find(pattern: str, text: str) -> tuple[str, ...]:
    found = re.search(pattern, text, re.MULTILINE)
    assert found, f"there is no {pattern!r} in:\n{text}"
    return found.groups()


@pytest.fixture(scope="module")
def printed() -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pmap"],
        cwd=TOP,
        env={**os.environ, "PYTHONPATH": str(TOP / "src")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_it_measures_what_is_promised(printed: str) -> None:
    lines = [cells(line) for line in printed.splitlines()]
    for row in TABLE.strip().splitlines():
        assert cells(row) in lines, printed


def test_the_page_of_verbs_promises_the_same(printed: str) -> None:
    promised = {
        name: [blocks, order or "-"]
        for name, blocks, order in re.findall(
            r"^\| `([\w.]+)\(.*\|.*\| (yes|no) \| (input|completion)? ?\|.*\|$",
            (TOP / "docs" / "verbs.md").read_text(encoding="utf-8"),
            re.MULTILINE,
        )
    }
    measured = {
        row[0]: row[3:5]
        for row in map(cells, printed.splitlines())
        if row[0] in promised and len(row) == 6
    }
    assert len(promised) == 10
    assert promised == measured


def test_every_form_gave_the_serial_answer(printed: str) -> None:
    for form in FORMS:
        find(rf"^  {re.escape(form)}  .*same answer", printed)
    assert "WRONG" not in printed
    assert printed.rstrip().endswith("all answers are the serial ones.")


def test_it_shows_what_happens_meanwhile(printed: str) -> None:
    done, total = find(r"<AsyncResult pmap\(count_names\) (\d+)/(\d+) done>", printed)
    assert 0 < int(done) < int(total)
    read, files = find(r"the first result was there after (\d+) of (\d+) were read", printed)
    assert 0 < int(read) <= tour.AHEAD < int(files)
    (turns,) = find(r"the event loop went round (\d+) times", printed)
    assert int(turns) > 1


def test_it_names_the_processes_and_all_their_items(printed: str) -> None:
    (files,) = find(r"^Serially: (\d+) files, \d+ names", printed)
    items = re.findall(r"^  process (\d+).*: (\d+) items$", printed, re.MULTILINE)
    assert len(items) >= 2
    assert sum(int(count) for _, count in items) == int(files) * 7 + 8


def test_it_shows_an_error_as_its_user_sees_it(printed: str) -> None:
    shown = [line[4:] for line in printed.splitlines() if line.startswith("  | ")]
    assert "Traceback (most recent call last):" in shown
    assert any(line.endswith(", in count_tokens") for line in shown), "the user's own frame"
    assert any(line.startswith("pmap: item 3, count_names(") for line in shown)
    find(r"^  the error +type and fields are those of the serial one$", printed)


def test_a_killed_worker_costs_one_item(printed: str) -> None:
    assert re.findall(r"^  lost: item (\d+) of 12$", printed, re.MULTILINE) == ["5"]
    find(rf"WorkerLost: the worker process \d+ was killed by ({signal.SIGKILL.name})", printed)
    find(r"^  the other results +all there$", printed)
    find(r"^  the same pool, once more +all there$", printed)


def test_a_reader_who_leaves_early_is_no_error() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "pmap"],
        cwd=TOP,
        env={**os.environ, "PYTHONPATH": str(TOP / "src")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b"pmap, on the source files")
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(LIMIT) == 1


def test_a_wrong_answer_is_seen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Serially the names are counted right, and one file is enough to see it.
    monkeypatch.setattr(tour, "SERIAL", 0.0)
    right = tour.serially()
    right.expected[3] = Counter({"spam": 1})
    monkeypatch.setattr(tour, "serially", lambda: right)
    monkeypatch.setattr(tour, "measure", lambda: [["nothing"]])
    assert tour.main() == 1
    shown = capsys.readouterr().out
    find(r"^  pmap +WRONG: this is not the serial answer$", shown)
    find(r"^  papply\.async_, 8 calls +WRONG", shown)
    find(r"ANSWERS WRONG\.$", shown)


def test_the_experiments_tell_forms_apart(tmp_path: Path) -> None:
    def serially(step: tour.Step, folder: Path, n: int) -> list[object]:
        return [[step(folder, index) for index in range(n)]]

    def folder(name: str) -> Path:
        (tmp_path / name).mkdir()
        return tmp_path / name

    form = tour.Form("serial", serially, call)
    assert tour.concurrent(form, folder("meet")) == "no"
    assert tour.blocks(form, folder("block")) == "yes"
    assert tour.several_arguments(form, folder("arguments")) == "yes, keywords too"
    with Pool(2) as pool:

        def as_they_come(step: tour.Step, folder: Path, n: int) -> list[object]:
            return [list(pool.imap_unordered(partial(step, folder), range(n)))]

        form = tour.Form("imap_unordered", as_they_come, call)
        assert tour.order(form, folder("order")) == "completion"
        assert tour.concurrent(form, folder("meet again")) == "yes"
        assert tour.returns(form, folder("returns")) == "list[str]"
