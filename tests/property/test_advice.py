"""What the doctor says of any machine."""

from hypothesis import given, settings
from hypothesis import strategies as st

from pmap._doctor.advice import advise
from pmap._doctor.facts import METHODS, Facts, Limit, Room, Trial, Worker
from pmap._doctor.report import WIDTH, report
from pmap._doctor.units import size_text

counts = st.none() | st.integers(0, 1 << 40)
rooms = st.builds(Room, counts, counts)
limits = st.builds(Limit, counts, counts, counts)
some = st.sampled_from(["", "x", "spam and eggs " * 40])


# A whole machine takes long to make up.
few = settings(max_examples=30)


def trials(names: tuple[str, ...]) -> st.SearchStrategy[tuple[Trial, ...]]:
    return st.lists(st.builds(Trial, st.sampled_from(names), some), max_size=3).map(tuple)


@few
@given(
    st.builds(
        Facts,
        cpus=st.integers(1, 999),
        cpus_of_machine=counts,
        affinity=counts,
        quota=st.none() | st.floats(0.01, 99),
        load=st.none() | st.floats(0, 99),
        memory=rooms,
        group_memory=rooms,
        shm=st.none() | rooms,
        memfd=st.booleans(),
        open_files=limits,
        tasks=limits,
        group_tasks=limits,
        address_space=limits,
        file_size=limits,
        proc=st.booleans(),
        system=st.sampled_from(["linux", "darwin", "win32"]),
        temp=st.none() | some,
        methods=trials(METHODS),
        backends=trials(("processes", "threads", "serial")),
        worker=st.none() | st.builds(Worker, st.just(1), counts, st.none() | some),
    )
)
def test_any_machine_gets_a_report(facts: Facts) -> None:
    lines = list(report(facts, advise(facts)))
    assert all(len(line) <= WIDTH for line in lines)
    assert all(trial.name in "\n".join(lines) for trial in (*facts.methods, *facts.backends))


@given(st.integers(0, 1 << 60))
def test_a_size_is_short_and_near(size: int) -> None:
    number, unit = size_text(size).split()
    factor = 1024 ** ["B", "KiB", "MiB", "GiB", "TiB", "PiB"].index(unit)
    assert abs(float(number) * factor - size) <= 0.0501 * factor  # the sum is rounded, too
    assert len(number) <= 6
