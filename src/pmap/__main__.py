"""The tour, ``python -m pmap``: it runs each form of each verb on the standard library's source.

``python -m pmap doctor`` runs the package `_doctor`; `command` below chooses between the two.

The tour takes as many files as one process reads in a second or two. It counts the names in these
files with each form of each verb, and compares each answer with that of a serial loop. Then it
measures how the forms differ, and shows what a user sees when an item fails and when a worker dies.
The exit code is 1 if an answer differs from the serial one.

The functions that the workers run are defined in this module, which is then ``__main__``. So they
are sent to the workers by value, with their code, and not as names.
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

# The serial loop works for at least this many seconds: long enough to show a gain, and short enough
# to do the same work eight times.
SERIAL: Final = 1.2
# The tour takes at least this many files, even on a slow machine, so that every worker gets some.
FEWEST: Final = 24
# In the tour, a stream reads at most this many items ahead of its consumer.
AHEAD: Final = 16
# An item waits at most this many seconds for a file, which the caller makes after its call. If the
# verb blocks until the item is done, the file comes too late, which shows that the verb blocks.
HELD: Final = 0.6
# An item waits at most this many seconds for a sign of the other item. If the two items run at the
# same time, they see each other's sign within this time, even on a busy machine.
MEETING: Final = 1.0
# Item 0 waits this many seconds after item 1 has finished. In this time the result of item 1
# reaches the caller.
SENT: Final = 0.1

# What a worker returns: its process id, and its counts.
Counted: TypeAlias = tuple[int, "Counter[str]"]
# A function of the tour that is run as one item; its arguments are a folder and an index.
Step: TypeAlias = Callable[[Path, int], object]


# --- the functions that the workers run --------------------------------------------------------


def count_names(path: Path) -> Counted:
    """Return this process's id, and how often each name occurs in the file."""
    return count_tokens(path, tokenize.NAME)


def count_tokens(path: Path, kind: int) -> Counted:
    """Return this process's id, and how often each token of type `kind` occurs in the file."""
    with tokenize.open(path) as file:
        tokens = tokenize.generate_tokens(file.readline)
        return os.getpid(), Counter(token.string for token in tokens if token.type == kind)


def count_all(*paths: Path) -> Counted:
    """Return this process's id, and how often each name occurs in all the files together."""
    return os.getpid(), merge([count_names(path) for path in paths])


def merge(counted: Sequence[Counted]) -> "Counter[str]":
    """Return the sum of several counts."""
    total: Counter[str] = Counter()
    for _, names in counted:
        total.update(names)
    return total


def count_or_die(path: Path, die: bool) -> Counted:
    """Kill this process if `die` is true; otherwise return what `count_names` returns."""
    if die:
        os.kill(os.getpid(), signal.SIGKILL)
    return count_names(path)


def wait_for(path: Path, seconds: float) -> bool:
    """Wait until the file exists, or for `seconds`; return whether it exists."""
    deadline = time.monotonic() + seconds
    while not path.exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


def meet(folder: Path, index: int) -> bool:
    """Return whether the items 0 and 1 run at the same time; item `index` calls this."""
    (folder / f"came-{index}").touch()
    return wait_for(folder / f"came-{1 - index}", MEETING)


def wait_for_go(folder: Path, index: int) -> int:
    """Return the index when the caller has made the file "go", or after `HELD` seconds."""
    wait_for(folder / "go", HELD)
    (folder / f"finished-{index}").touch()
    return index


def first_comes_last(folder: Path, index: int) -> int:
    """Return the index; item 0 waits until item 1 has finished."""
    if index == 0:
        wait_for(folder / "finished-1", MEETING)
        time.sleep(SENT)
    (folder / f"finished-{index}").touch()
    return index


# --- the rounds of the tour, in the caller -------------------------------------------------------


def say(text: str = "") -> None:
    """Print the line and flush stdout, so that the line appears at once, even in a pipe."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


@dataclass
class Tour:
    """What the tour knows: its files, their counts by a serial loop, and what it has found."""

    paths: list[Path]
    expected: list["Counter[str]"]
    seconds: float
    # How many items each process has run, by process id.
    items: "Counter[int]" = field(default_factory=Counter)
    wrong: int = 0

    def check(self, name: str, got: object, expected: object, what: str = "") -> None:
        """Print whether `got` is what the serial loop has found; if not, count it as wrong."""
        if got == expected:
            say(f"  {name:<27} {what or 'as serial'}")
        else:
            self.wrong += 1
            say(f"  {name:<27} WRONG: this is not the serial answer")

    def round(self, name: str, work: Callable[[], Sequence[Counted]]) -> None:
        """Run the work with one form of a verb, measure how long it takes, and check its answer."""
        start = time.perf_counter()
        counted = work()
        seconds = time.perf_counter() - start
        self.items.update(pid for pid, _ in counted)
        # This form of the verb gave a count of names for each item, and the serial loop gave one
        # for each file. If an item was a group of files, only the sums over all files can be
        # compared.
        got, expected = [names for _, names in counted], self.expected
        if len(got) != len(expected):
            got, expected = [merge(counted)], [merge([(0, names) for names in expected])]
        gain = f"{seconds:5.2f} s, {self.seconds / seconds:4.1f} times as fast as serial"
        self.check(name, got, expected, f"{gain}; same answer")


def sources() -> Iterator[Path]:
    """Yield the paths of the standard library's modules and packages, without its tests."""
    top = Path(sysconfig.get_path("stdlib"))
    yield from sorted(top.glob("*.py"))
    left_out = {"test", "lib2to3", "site-packages", "dist-packages"}
    for package in sorted(top.glob("*/__init__.py")):
        if package.parent.name not in left_out:
            yield from sorted(package.parent.glob("*.py"))


def serially() -> Tour:
    """Count names in this process for a second or two, in the files that the tour then uses."""
    tour = Tour([], [], 0.0)
    start = time.perf_counter()
    for path in sources():
        try:
            _, names = count_names(path)
        except (SyntaxError, UnicodeDecodeError, tokenize.TokenError):
            continue  # the tour leaves out files that are not valid Python source
        tour.paths.append(path)
        tour.expected.append(names)
        if time.perf_counter() - start > SERIAL and len(tour.paths) >= FEWEST:
            break
    tour.seconds = time.perf_counter() - start
    return tour


def watched(later: AsyncResult[list[Counted]]) -> list[Counted]:
    """Wait for the result and return it; meanwhile print the progress."""
    for quarter in (1, 2, 3):
        while not later.ready() and later.done * 4 < later.total * quarter:
            later.wait(0.01)
        if not later.ready():
            say(f"    meanwhile: {later!r}")
    return later.get()


async def awaited(later: AsyncResult[list[Counted]]) -> list[Counted]:
    """Await the result and return it; print how many turns the event loop has made meanwhile."""
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
    """Run the work with each verb in each form."""
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


# --- how the forms differ ----------------------------------------------------------------------


@dataclass(frozen=True)
class Form:
    """A verb in one form, with a function that calls the verb in this form."""

    name: str
    # `ask(step, folder, n)` runs `step(folder, index)` for the indices 0 to n - 1, with one call of
    # the verb for all indices, or with one call for each. It returns a list of what the calls of
    # the verb have returned.
    ask: Callable[[Step, Path, int], list[object]]
    # The verb itself, as a function of any arguments. `several_arguments` gives it a keyword that
    # not every verb takes, which a type checker would report as an error.
    verb: Callable[..., object]


def forms() -> list[Form]:
    """Return the forms of verbs whose results cannot contain a `Failure`."""
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
    """Return the results from what a verb has returned: a handle, a stream, or the results."""
    if isinstance(returned, ResultStream):
        return list(cast("ResultStream[object]", returned))
    # An `AsyncResult` has a method `get`, and so has the handle that a multiprocessing pool
    # returns.
    get: Callable[[], object] | None = getattr(returned, "get", None)
    return returned if get is None else get()


def results(returned: list[object]) -> list[object]:
    """Return one list with the result of each item, however often the verb was called."""
    values = [opened(one) for one in returned]
    return cast("list[object]", values[0]) if isinstance(values[0], list) else values


def both(folder: Path, index: int) -> str:
    """Return the two arguments, joined into one text."""
    return f"{folder.name}/{index}"


def several_arguments(form: Form, folder: Path) -> str:
    """Find out whether the verb passes two arguments, and keyword arguments, to the function."""
    # Only the set of results is compared, because `order` tests their order.
    if set(results(form.ask(both, folder, 2))) != {both(folder, 0), both(folder, 1)}:
        return "no"
    try:
        keyword = opened(form.verb(int, "ff", base=16)) == 255
    except OptionError:
        keyword = False  # the verb refuses the keyword, which it takes for an option of its own
    return "yes, keywords too" if keyword else "yes"


def concurrent(form: Form, folder: Path) -> str:
    """Find out whether two items run at the same time."""
    return "yes" if all(results(form.ask(meet, folder, 2))) else "no"


def blocks(form: Form, folder: Path) -> str:
    """Find out whether the function has finished when the verb returns.

    The function waits for a file, for at most `HELD` seconds. The file is made after the call.
    """
    returned = form.ask(wait_for_go, folder, 1)
    finished = (folder / "finished-0").exists()
    (folder / "go").touch()
    results(returned)
    return "yes" if finished else "no"


def order(form: Form, folder: Path) -> str:
    """Find out at which place the result of item 0 is, if item 1 finishes first."""
    returned = form.ask(both, folder, 2)
    results(returned)  # the results are read, because a stream that nobody reads gives a warning
    if len(returned) > 1:
        return "-"  # this form calls the verb once for each item, so there is no order
    return "input" if results(form.ask(first_comes_last, folder, 2)) == [0, 1] else "completion"


def returns(form: Form, folder: Path) -> str:
    """Find out what type the verb returns, if the function returns a str."""
    returned = form.ask(both, folder, 1)[0]
    handle = type(returned).__name__
    value = opened(returned)
    inside = type(value).__name__
    if isinstance(value, list):
        (item,) = cast("list[object]", value)
        inside = type(item).__name__
        # The result is a list (a stream gives single results), so its type is shown.
        if handle != ResultStream.__name__:
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
    """Return the table of verbs, titles first; each cell is the result of an experiment."""
    table = [["verb", *COLUMNS]]
    for form in forms():
        row = [form.name]
        for experiment in COLUMNS.values():
            with TemporaryDirectory(prefix="pmap-tour-") as folder:
                row.append(experiment(form, Path(folder)))
        table.append(row)
    return table


def show(table: list[list[str]]) -> None:
    """Print the table of verbs."""
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for number, row in enumerate(table):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        say("  " + "  ".join(cells).rstrip())
        if number == 0:
            say("  " + "  ".join("-" * width for width in widths))


# --- what a user sees of failures --------------------------------------------------------------


def failing(run: Callable[[], object]) -> tuple[object, str]:
    """Return type and fields of the error that `run()` raises, and its traceback as text."""
    try:
        run()
    except OSError as error:
        kind = (type(error), error.errno, error.filename)
        return kind, "".join(traceback.format_exception(error))
    return None, "nothing was raised"


def an_error(tour: Tour) -> None:
    """Let an item fail; print what a user sees, and check that a loop raises the same error."""
    paths = [*tour.paths[:3], Path("there-is-no-such-module.py"), *tour.paths[3:6]]
    expected, _ = failing(lambda: [count_names(path) for path in paths])
    raised, text = failing(lambda: pmap(count_names, paths))
    for line in text.splitlines():
        say(f"  | {line}".rstrip())
    tour.check("the error", raised, expected, "type and fields are those of the serial one")


def a_death(tour: Tour) -> None:
    """Let an item kill its worker; print which item was lost, and check all the other results."""
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
    """Run the tour; return the exit code: 1 if an answer differs from that of the serial loop."""
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
    """Run the tour or the doctor, as the command line says; return its exit code."""
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
    except BrokenPipeError:  # the reader of the pipe has ended, as in `python -m pmap | head`
        # At its end the interpreter flushes stdout, and would find again that the pipe is closed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)
