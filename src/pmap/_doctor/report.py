"""Makes the lines of the report from facts and advice; this module prints nothing."""

import textwrap
from collections.abc import Iterable, Iterator
from typing import Final

from .advice import Advice
from .facts import METHODS, Facts, Limit, Room, Trial
from .units import cpus_text, seconds_text, size_text

WIDTH: Final = 98
LABEL: Final = 17
UNKNOWN: Final = "unknown"


def report(facts: Facts, advice: Iterable[Advice]) -> Iterator[str]:
    """Yield the lines of the report: the facts, the trials, and what to change."""
    for title, lines in (
        ("Versions", _versions(facts)),
        ("CPUs and memory", _resources(facts)),
        ("Limits", _limits(facts)),
        ("Surroundings", _surroundings(facts)),
        (f"Start methods ({facts.default_method} is the default)", _methods(facts)),
        (f"Backends ({facts.cpus} worker{'s' * (facts.cpus > 1)})", _trials(facts.backends)),
    ):
        yield title
        for label, text in lines:
            yield from _entry(f"  {label:<{LABEL}}", text)
        yield ""
    yield "What to change"
    nothing = True
    for one in advice:
        nothing = False
        yield from _entry("  - " if one.change else "  - good to know: ", f"{one.text}.", indent=4)
    if nothing:
        yield "  nothing"


def _entry(start: str, text: str, indent: int = LABEL + 2) -> list[str]:
    return textwrap.wrap(
        start + text,
        WIDTH,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _versions(facts: Facts) -> Iterator[tuple[str, str]]:
    yield "pmap", f"{facts.pmap}, {facts.place}"
    yield "Python", facts.python + ("" if facts.has_gil else ", without GIL")
    yield "executable", facts.executable or "none"
    yield "platform", facts.platform
    yield "container", f"yes: {facts.container}" if facts.container else "no sign of one"
    yield "packages", ", ".join(f"{name} {version}" for name, version in facts.packages) or "none"


def _resources(facts: Facts) -> Iterator[tuple[str, str]]:
    affinity = UNKNOWN if facts.affinity is None else facts.affinity
    quota = "none" if facts.quota is None else f"{cpus_text(facts.quota)} CPUs"
    machine = facts.cpus_of_machine or UNKNOWN
    own = f"{facts.cpus} for pmap"
    yield "CPUs", f"{own}; machine {machine}, affinity {affinity}, cgroup limit {quota}"
    yield "load", UNKNOWN if facts.load is None else f"{facts.load:.1f} over the last minute"
    yield "memory", _room(facts.memory)
    limited = facts.group_memory.total is not None
    yield "cgroup memory", _room(facts.group_memory) if limited else "no limit"
    yield "shared memory", "no /dev/shm" if facts.shm is None else _room(facts.shm)
    yield "memfd", "yes" if facts.memfd else "no"
    if facts.worker is not None and facts.worker.memory is not None:
        yield "an idle worker", f"takes {size_text(facts.worker.memory)}"


def _room(room: Room) -> str:
    if room.total is None:
        return UNKNOWN
    free = UNKNOWN if room.free is None else size_text(room.free)
    return f"{size_text(room.total)}, free {free}"


def _limits(facts: Facts) -> Iterator[tuple[str, str]]:
    yield "open files", _limit(facts.open_files)
    yield "processes", _limit(facts.tasks) + (", not for root" if facts.is_root else "")
    yield "cgroup tasks", _limit(facts.group_tasks)
    yield "addresses", _limit(facts.address_space, in_bytes=True)
    yield "file size", _limit(facts.file_size, in_bytes=True)


def _limit(limit: Limit, in_bytes: bool = False) -> str:
    def text(number: int | None) -> str:
        if number is None:
            return "no limit"
        return size_text(number) if in_bytes else str(number)

    hard = f" (hard limit {text(limit.hard)})" if limit.hard != limit.soft else ""
    used = f", {limit.used} in use" if limit.used is not None else ""
    return text(limit.soft) + (hard if limit.soft is not None else "") + used


def _surroundings(facts: Facts) -> Iterator[tuple[str, str]]:
    yield "/proc", "yes" if facts.proc else "cannot be read"
    temp = facts.temp or "none that can be written"
    yield "temporary files", temp + (", noexec" if facts.temp_noexec else "")
    yield "text files", facts.encoding
    yield "closed streams", ", ".join(facts.closed) or "none"
    variables = ", ".join(f"{name}={value}" for name, value in facts.thread_variables)
    yield "thread variables", variables or "none set"
    if facts.worker is not None:
        yield "of one worker", f"OMP_NUM_THREADS={facts.worker.threads or ''}"
    yield "BLAS of NumPy", facts.blas or UNKNOWN
    yield "PMAP_BACKEND", facts.backend_variable or "not set"


def _methods(facts: Facts) -> Iterator[tuple[str, str]]:
    yield from _trials(facts.methods)
    tried = {trial.name for trial in facts.methods}
    yield from ((method, "not on this system") for method in METHODS if method not in tried)


def _trials(trials: Iterable[Trial]) -> Iterator[tuple[str, str]]:
    for trial in trials:
        times = f"first call {seconds_text(trial.first)}, second {seconds_text(trial.again)}"
        yield trial.name, f"works: {times}" if trial.works else f"DOES NOT WORK: {trial.error}"
