"""The benchmarks: what is said of the figures, and that nothing disturbs them. No times here."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from benchmarks.jobs.job import WrongResultError, measured
from benchmarks.peers import PEERS, Peer
from benchmarks.report import as_json, ratio, reached, table
from benchmarks.run import Results, measure, rounds
from benchmarks.saturation import Costs, rate
from benchmarks.work import ALL, Figure, Setting, Target, Work
from benchmarks.works import WORKS
from benchmarks.works.timing import SHAPES, durations, greedy

TIME = Figure("time", "us", (Target(0.5), Target(8, None)))
SPEED = Figure("speed", "GB/s", (Target(2), Target(1, "loky")), more=True)


def nothing(_: Setting) -> Iterator[tuple[str, float]]:
    yield from ()


def results() -> Results:
    work = Work("fake", "A fake", (TIME, SPEED), nothing, ("pmap", "Pool", "loky", "mpire"))
    values: dict[tuple[str, str], list[float | None]] = {
        ("time", "pmap"): [10.0, 5.0, 30.0],
        ("time", "Pool"): [20.0, 50.0, 40.0],
        ("speed", "pmap"): [4.0, None, 8.0],
        ("speed", "Pool"): [2.0, 2.0, 2.0],
        ("time", "loky"): [None],
    }
    return Results(work, values, {"loky": ["over 60 s"]})


def test_each_round_makes_a_ratio() -> None:
    assert ratio(results(), TIME, "Pool") == (0.5, 0.1, 0.75)
    assert ratio(results(), SPEED, "Pool") == (3.0, 2.0, 4.0)  # a round without a figure has none
    assert ratio(results(), TIME, "loky") is None


def test_a_target_is_a_limit_of_the_ratio_or_of_the_figure() -> None:
    assert [reached(results(), TIME, target) for target in TIME.targets] == [True, False]
    assert [reached(results(), SPEED, target) for target in SPEED.targets] == [True, None]


def test_the_table_says_what_missed_its_target_and_who_did_not_answer() -> None:
    assert "| pmap | Pool | loky | pmap's ratio |" in table(results())  # mpire was not asked
    time, speed = (
        line for line in table(results()).splitlines() if line.startswith(("| t", "| s"))
    )
    assert time == (
        "| time, us | 10 | 40 | over 60 s | **0.5** x Pool (0.1 to 0.75) "
        "| <= 0.5 x Pool: yes; <= 8: **no** |"
    )
    assert speed.endswith("**3** x Pool (2 to 4) | >= 2 x Pool: yes; >= 1 x loky: ? |")


def test_the_json_holds_the_value_of_each_round() -> None:
    time, speed = as_json([results()])
    assert time["reached"] == [True, False]
    values = speed["values"]
    assert values == {"pmap": [4.0, None, 8.0], "Pool": [2.0, 2.0, 2.0], "loky": [], "mpire": []}


def test_what_takes_too_long_is_a_note_and_is_not_asked_again() -> None:
    slow = replace(next(work for work in WORKS if work.name == "import"), limit=0.001)
    *_, found = rounds(slow, ("pmap",), 2, 2, quick=True)
    assert found.notes == {"pmap": ["over 0.001 s"]}
    assert found.values == {("import", "pmap"): [None]}


def test_a_measurement_runs_in_a_process_of_its_own() -> None:
    work = next(work for work in WORKS if work.name == "import")
    values, note = measure(work, "pmap", 2, quick=True)
    assert (list(values), note) == (["import"], "")
    values, note = measure(work, "nobody", 2, quick=True)
    assert (values, note) == ({}, "KeyError: 'nobody'")


def test_names_are_unique_and_known() -> None:
    names = [work.name for work in WORKS]
    assert len(set(names)) == len(names)
    assert {*PEERS} == {*ALL, "Ray", "serial"}
    for work in WORKS:
        assert len({figure.name for figure in work.figures}) == len(work.figures)
        assert {t.to for f in work.figures for t in f.targets} <= {None, *work.peers}


def test_a_job_is_done_by_pmap_with_the_results_of_the_serial_loop() -> None:
    work = next(work for work in WORKS if work.name == "jobs.files")
    values, note = measure(work, "pmap", 2, quick=True)
    assert (list(values), note) == ([figure.name for figure in work.figures], "")
    assert min(values.values()) > 0


def test_a_job_with_other_results_fails() -> None:
    expected = [1]

    def run(peer: Peer) -> object:
        expected[0] += 1  # the second time it is another result
        return peer.map(abs, expected)

    with pytest.raises(WrongResultError, match="serial"):
        measured(run, "serial", 1, 1)


def test_one_caller_keeps_many_processors_going() -> None:
    # In simulated time, with what was measured. It was 27 % with chunks of 20 ms.
    assert rate(0.01, 256, Costs(145e-6, 63e-9)) * 0.01 / 256 > 0.75


@pytest.mark.parametrize("shape", SHAPES)
def test_the_greedy_order_is_the_least_that_the_next_free_worker_takes(shape: str) -> None:
    times = durations(shape, 8.0)
    assert sum(times) == pytest.approx(8.0)
    assert greedy(times, 1) == pytest.approx(8.0)
    assert max(1.0, max(times)) <= greedy(times, 8) <= 1.0 + max(times)
    assert greedy([1, 1, 2], 2) == 3
