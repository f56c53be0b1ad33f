"""The tour, ``python -m pmap``: each verb in each form, at work on the standard library's source.

(``python -m pmap doctor`` is in the package `_doctor`; `command` below tells the two apart.)

It counts the names in as many files as one process reads in a second or two, through each form,
and checks every answer against the serial one; then measures what sets the forms apart, and shows
what an item that fails and a worker that dies look like. The exit code is 1 if an answer differs.

The functions that the workers run are defined here, so in ``__main__``: they travel by value.
"""

import argparse
import asyncio
import os
import signal
import sys
import sysconfig
import textwrap
import time
import tokenize
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, TypeAlias, cast

from pmap import (
    AsyncResult,
    Failure,
    OptionError,
    ResultStream,
    WorkerLost,
    papply,
    pmap,
    pstarmap,
)

# Seconds of serial work: enough for the gain to be seen, little enough for eight rounds.
SERIAL: Final = 1.2
# Files at least, also on a slow machine: enough for every worker to get some.
FEWEST: Final = 24
# Items that the stream may read ahead.
AHEAD: Final = 16
# Seconds that an item waits for what may never come: the go of a caller who is himself waiting.
HELD: Final = 0.6
# Seconds within which two items that run at the same time have met, also on a busy machine.
MEETING: Final = 1.0
# Seconds after which the result of an item that has finished is with the caller.
SENT: Final = 0.1

Counted: TypeAlias = tuple[int, "Counter[str]"]  # the process that counted, and what
Step: TypeAlias = Callable[[Path, int], object]  # what an item of a measurement runs


# --- what the workers run ----------------------------------------------------------------------


def count_names(path: Path) -> Counted:
    """Return this process's id, and how often each name occurs in the file."""
    return count_tokens(path, tokenize.NAME)


def count_tokens(path: Path, kind: int) -> Counted:
    """Return this process's id, and how often each token of that kind occurs in the file."""
    with tokenize.open(path) as file:
        tokens = tokenize.generate_tokens(file.readline)
        return os.getpid(), Counter(token.string for token in tokens if token.type == kind)


def count_all(*paths: Path) -> Counted:
    """Return this process's id, and how often each name occurs in all the files."""
    return os.getpid(), merge([count_names(path) for path in paths])


def merge(counted: Sequence[Counted]) -> "Counter[str]":
    """Return the sum of the counts."""
    total: Counter[str] = Counter()
    for _, names in counted:
        total.update(names)
    return total


def count_or_die(path: Path, die: bool) -> Counted:
    """Return what `count_names` does, or kill this process."""
    if die:
        os.kill(os.getpid(), signal.SIGKILL)
    return count_names(path)


def wait_for(path: Path, seconds: float) -> bool:
    """Return whether the file was there within so many seconds."""
    deadline = time.monotonic() + seconds
    while not path.exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


def meet(folder: Path, index: int) -> bool:
    """Return whether the other one of two items ran at the same time as this one."""
    (folder / f"came-{index}").touch()
    return wait_for(folder / f"came-{1 - index}", MEETING)


def wait_for_go(folder: Path, index: int) -> int:
    """Return the index, once the caller has said go or does not seem to be able to."""
    wait_for(folder / "go", HELD)
    (folder / f"finished-{index}").touch()
    return index


def first_comes_last(folder: Path, index: int) -> int:
    """Return the index; item 0 not before item 1 has finished."""
    if index == 0:
        wait_for(folder / "finished-1", MEETING)
        time.sleep(SENT)
    (folder / f"finished-{index}").touch()
    return index


# --- what the caller does ----------------------------------------------------------------------


def say(text: str = "") -> None:
    """Print the line now, also into a pipe."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


@dataclass
class Tour:
    """The work, its serial answer, and what has come of the rounds so far."""

    paths: list[Path]
    expected: list["Counter[str]"]
    seconds: float
    items: "Counter[int]" = field(default_factory=Counter)  # of each process
    wrong: int = 0

    def check(self, name: str, got: object, expected: object, what: str = "") -> None:
        """Say whether the answer is the serial one, and remember it if not."""
        if got == expected:
            say(f"  {name:<27} {what or 'as serial'}")
        else:
            self.wrong += 1
            say(f"  {name:<27} WRONG: this is not the serial answer")

    def round(self, name: str, work: Callable[[], Sequence[Counted]]) -> None:
        """Run the work in one form, and check and time it."""
        start = time.perf_counter()
        counted = work()
        seconds = time.perf_counter() - start
        self.items.update(pid for pid, _ in counted)
        # The files in the order given; or all of them merged, where an item was many files.
        got, expected = [names for _, names in counted], self.expected
        if len(got) != len(expected):
            got, expected = [merge(counted)], [merge([(0, names) for names in expected])]
        gain = f"{seconds:5.2f} s, {self.seconds / seconds:4.1f} times as fast as serial"
        self.check(name, got, expected, f"{gain}; same answer")


def sources() -> Iterator[Path]:
    """Yield the standard library's modules and those of its packages, but not its tests."""
    top = Path(sysconfig.get_path("stdlib"))
    yield from sorted(top.glob("*.py"))
    left_out = {"test", "lib2to3", "site-packages", "dist-packages"}
    for package in sorted(top.glob("*/__init__.py")):
        if package.parent.name not in left_out:
            yield from sorted(package.parent.glob("*.py"))


def serially() -> Tour:
    """Do a second or two of the work in this process; that says how many files there are."""
    tour = Tour([], [], 0.0)
    start = time.perf_counter()
    for path in sources():
        try:
            _, names = count_names(path)
        except (SyntaxError, UnicodeDecodeError, tokenize.TokenError):
            continue  # nothing that Python reads
        tour.paths.append(path)
        tour.expected.append(names)
        if time.perf_counter() - start > SERIAL and len(tour.paths) >= FEWEST:
            break
    tour.seconds = time.perf_counter() - start
    return tour


def watched(later: AsyncResult[list[Counted]]) -> list[Counted]:
    """Return the result; tell how it comes along, which a blocking verb has no time for."""
    for quarter in (1, 2, 3):
        while not later.ready() and later.done * 4 < later.total * quarter:
            later.wait(0.01)
        if not later.ready():
            say(f"    meanwhile: {later!r}")
    return later.get()


async def awaited(later: AsyncResult[list[Counted]]) -> list[Counted]:
    """Return the result, awaited; count what else the event loop did in this time."""
    task = asyncio.ensure_future(_await(later))
    turns = 0
    while not task.done():
        await asyncio.sleep(0.01)
        turns += 1
    say(f"    meanwhile: the event loop went round {turns} times")
    return task.result()


async def _await(later: AsyncResult[list[Counted]]) -> list[Counted]:
    return await later


def every_form(tour: Tour) -> None:
    """Run the work through each verb in each form."""
    paths = tour.paths
    rows = [(path, tokenize.NAME) for path in paths]
    groups = [paths[start::8] for start in range(8)]

    def collecting() -> list[Counted]:
        return [c for c in pmap.collecting(count_names, paths) if not isinstance(c, Failure)]

    def streamed() -> list[Counted]:
        read = 0

        def reading() -> Iterator[Path]:
            nonlocal read
            for path in paths:
                read += 1
                yield path

        counted: list[Counted] = []
        with pmap.iter(count_names, reading(), buffersize=AHEAD) as results:
            for one in results:
                if not counted:
                    say(f"    the first result was there after {read} of {len(paths)} were read")
                counted.append(one)
        return counted

    def with_options() -> list[Counted]:
        some = pmap.using(backend="threads", processes=2)(count_names, paths[:10])
        return [*some, *pmap.using(processes=2, chunksize=3)(count_names, paths[10:])]

    def calls() -> list[Counted]:
        return [later.get() for later in [papply.async_(count_all, *group) for group in groups]]

    tour.round("pmap", lambda: pmap(count_names, paths))
    tour.round("pmap.async_", lambda: watched(pmap.async_(count_names, paths)))
    tour.round("pmap.iter, bit by bit", streamed)
    tour.round("pmap.collecting", collecting)
    tour.round("pmap.using(...)", with_options)
    tour.round("pstarmap", lambda: pstarmap(count_tokens, rows))
    tour.round(
        "pstarmap.async_, awaited",
        lambda: asyncio.run(awaited(pstarmap.async_(count_tokens, rows))),
    )
    tour.round("papply.async_, 8 calls", calls)
    serial = [(0, names) for names in tour.expected]
    total = papply(merge, serial)
    common = ", ".join(f"{name} {times}" for name, times in total.most_common(4))
    tour.check("papply, to merge all", total, merge(serial), f"same answer; most common: {common}")


# --- what sets the forms apart -----------------------------------------------------------------


@dataclass(frozen=True)
class Form:
    """A verb in one form, and how it is asked."""

    name: str
    # Runs step(folder, index) for so many indices; a list with what each call of the verb returned.
    ask: Callable[[Step, Path, int], list[object]]
    # The verb itself, for a call that a type checker may refuse: a keyword of the function.
    verb: Callable[..., object]


def forms() -> list[Form]:
    """Return the forms whose results are those of the function itself."""
    each = pmap.using(processes=2, chunksize=1)
    star = pstarmap.using(processes=2, chunksize=1)
    one = papply.using(processes=2)

    def rows(folder: Path, n: int) -> list[tuple[Path, int]]:
        return [(folder, index) for index in range(n)]

    return [
        Form("pmap", lambda f, d, n: [each(f, [d] * n, range(n))], each),
        Form("pmap.async_", lambda f, d, n: [each.async_(f, [d] * n, range(n))], each.async_),
        Form("pmap.iter", lambda f, d, n: [each.iter(f, [d] * n, range(n))], each.iter),
        Form(
            "pmap.iter_unordered",
            lambda f, d, n: [each.iter_unordered(f, [d] * n, range(n))],
            each.iter_unordered,
        ),
        Form("pstarmap", lambda f, d, n: [star(f, rows(d, n))], star),
        Form("pstarmap.async_", lambda f, d, n: [star.async_(f, rows(d, n))], star.async_),
        Form("pstarmap.iter", lambda f, d, n: [star.iter(f, rows(d, n))], star.iter),
        Form(
            "pstarmap.iter_unordered",
            lambda f, d, n: [star.iter_unordered(f, rows(d, n))],
            star.iter_unordered,
        ),
        Form("papply", lambda f, d, n: [one(f, *row) for row in rows(d, n)], one),
        Form("papply.async_", lambda f, d, n: [one.async_(f, *r) for r in rows(d, n)], one.async_),
    ]


def opened(returned: object) -> object:
    """Return the result itself, where a handle to wait on or to go through was returned."""
    if isinstance(returned, ResultStream):
        return list(cast("ResultStream[object]", returned))
    get: Callable[[], object] | None = getattr(returned, "get", None)  # of ours, or of a Pool
    return returned if get is None else get()


def results(returned: list[object]) -> list[object]:
    """Return one result for each item, however many calls they took."""
    values = [opened(one) for one in returned]
    return cast("list[object]", values[0]) if isinstance(values[0], list) else values


def both(folder: Path, index: int) -> str:
    """Return both arguments as one."""
    return f"{folder.name}/{index}"


def several_arguments(form: Form, folder: Path) -> str:
    """Measure: is a function of two arguments given both, and may they be keywords?"""
    # In any order: that is another question.
    if set(results(form.ask(both, folder, 2))) != {both(folder, 0), both(folder, 1)}:
        return "no"
    try:
        keyword = opened(form.verb(int, "ff", base=16)) == 255
    except OptionError:
        keyword = False  # the keywords of a call are options of the verb
    return "yes, keywords too" if keyword else "yes"


def concurrent(form: Form, folder: Path) -> str:
    """Measure: do two items meet?"""
    return "yes" if all(results(form.ask(meet, folder, 2))) else "no"


def blocks(form: Form, folder: Path) -> str:
    """Measure: has the function finished when the call returns? It is held until then, or tired."""
    returned = form.ask(wait_for_go, folder, 1)
    finished = (folder / "finished-0").exists()
    (folder / "go").touch()
    results(returned)
    return "yes" if finished else "no"


def order(form: Form, folder: Path) -> str:
    """Measure: where is the result of item 0, if item 1 finishes first?"""
    returned = form.ask(both, folder, 2)
    results(returned)  # a stream that nobody asks for anything warns of that
    if len(returned) > 1:
        return "-"  # a call for each item: the order of their results is the caller's own
    return "input" if results(form.ask(first_comes_last, folder, 2)) == [0, 1] else "completion"


def returns(form: Form, folder: Path) -> str:
    """Measure: what is the type of what comes back from a function that returns a str?"""
    returned = form.ask(both, folder, 1)[0]
    handle = type(returned).__name__
    value = opened(returned)
    inside = type(value).__name__
    if isinstance(value, list):
        (item,) = cast("list[object]", value)
        inside = type(item).__name__
        if handle != ResultStream.__name__:  # whose results are taken one by one
            inside = f"list[{inside}]"
    return inside if value is returned else f"{handle}[{inside}]"


COLUMNS: Final[dict[str, Callable[[Form, Path], str]]] = {
    "several arguments?": several_arguments,
    "concurrent?": concurrent,
    "blocks?": blocks,
    "order": order,
    "returns (of a str)": returns,
}


def measure() -> list[list[str]]:
    """Return the table of verbs, its head first; each cell is the outcome of a small experiment."""
    table = [["verb", *COLUMNS]]
    for form in forms():
        row = [form.name]
        for experiment in COLUMNS.values():
            with TemporaryDirectory(prefix="pmap-tour-") as folder:
                row.append(experiment(form, Path(folder)))
        table.append(row)
    return table


def show(table: list[list[str]]) -> None:
    """Print the table."""
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for number, row in enumerate(table):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        say("  " + "  ".join(cells).rstrip())
        if number == 0:
            say("  " + "  ".join("-" * width for width in widths))


# --- what happens when something goes wrong ----------------------------------------------------


def failing(run: Callable[[], object]) -> tuple[object, str]:
    """Return the type and fields of the error that was raised, and the text that Python prints."""
    try:
        run()
    except OSError as error:
        kind = (type(error), error.errno, error.filename)
        return kind, "".join(traceback.format_exception(error))
    return None, "nothing was raised"


def an_error(tour: Tour) -> None:
    """Let one item fail, show what a user sees, and compare the error with the serial one."""
    paths = [*tour.paths[:3], Path("there-is-no-such-module.py"), *tour.paths[3:6]]
    expected, _ = failing(lambda: [count_names(path) for path in paths])
    raised, text = failing(lambda: pmap(count_names, paths))
    for line in text.splitlines():
        say(f"  | {line}".rstrip())
    tour.check("the error", raised, expected, "type and fields are those of the serial one")


def a_death(tour: Tour) -> None:
    """Let one item kill its worker, and show what was lost."""
    paths, expected = tour.paths[:12], tour.expected[:12]
    victim = 5
    rows = [(path, index == victim) for index, path in enumerate(paths)]
    counted = pstarmap.collecting(count_or_die, rows)
    lost = [one for one in counted if isinstance(one, Failure)]
    for one in lost:
        say(f"  lost: item {one.index} of {len(paths)}")
        message = f"{type(one.error).__name__}: {one.error}"
        say(textwrap.fill(message, 98, initial_indent="  | ", subsequent_indent="  | "))
    known = [(one.index, type(one.error)) for one in lost]
    tour.check("one item lost", known, [(victim, WorkerLost)], "that one and no other")
    rest = [one[1] for one in counted if not isinstance(one, Failure)]
    tour.check("the other results", rest, expected[:victim] + expected[victim + 1 :], "all there")
    again = [names for _, names in pmap(count_names, paths)]
    tour.check("the same pool, once more", again, expected, "all there")


# --- the tour ----------------------------------------------------------------------------------


def main() -> int:
    """Take the tour; return the exit code: 1 if an answer was not the serial one."""
    start = time.perf_counter()
    say("pmap, on the source files of the standard library: tokenise each, count its names.")
    say()
    tour = serially()
    names = sum(sum(counter.values()) for counter in tour.expected)
    say(f"Serially: {len(tour.paths)} files, {names} names, {tour.seconds:.2f} s.")
    say()
    say("Each verb in each form, on the same files:")
    every_form(tour)
    say()
    say("The processes that did the work:")
    for pid, items in sorted(tour.items.items()):
        say(f"  process {pid}{' (this one: threads)' if pid == os.getpid() else ''}: {items} items")
    say()
    say("What sets the forms apart, each cell measured:")
    show(measure())
    say()
    say("One item fails; this is what its user sees:")
    an_error(tour)
    say()
    say("One item kills its worker, with SIGKILL:")
    a_death(tour)
    say()
    wrong = f"{tour.wrong} ANSWERS WRONG" if tour.wrong else "all answers are the serial ones"
    say(f"{time.perf_counter() - start:.1f} s in all; {wrong}.")
    return 1 if tour.wrong else 0


# --- the command line --------------------------------------------------------------------------


def command(arguments: Sequence[str]) -> int:
    """Run the tour or the doctor, as the command line says; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m pmap",
        description="map, starmap and a plain call, in parallel, with types that hold.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=textwrap.dedent(
            """\
            tour     each verb at work on the source of the standard library, checked against
                     the serial loop: ten seconds; the exit code is 1 if an answer differs
            doctor   what matters on this machine, each backend and start method tried, and what
                     to change: seconds; the exit code is 1 if one of them does not work
            """
        ),
    )
    parser.add_argument(
        "command",
        nargs="?",
        choices=["tour", "doctor"],
        default="tour",
        help="what to run (the tour, if nothing is said)",
    )
    if parser.parse_args(arguments).command == "tour":
        return main()
    from pmap._doctor import doctor

    return doctor.main()


if __name__ == "__main__":
    try:
        code: int = command(sys.argv[1:])
    except BrokenPipeError:  # as in `python -m pmap | head`: whoever read it has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)
