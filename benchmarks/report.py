"""What is said of the results: Markdown and JSON."""

import os
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from statistics import median
from typing import Final, NamedTuple

from .run import Results
from .work import Figure, Target

PACKAGES: Final = (
    *("loky", "joblib", "mpire", "pebble", "ray", "distributed"),
    *("numpy", "pandas", "pillow", "scikit-learn"),
)


class Ratio(NamedTuple):
    """pmap's figure over a peer's: the median over the rounds, the least and the greatest."""

    middle: float
    least: float
    most: float


def middle(results: Results, figure: Figure, peer: str) -> float | None:
    """Return the median of a peer's figure."""
    known = [value for value in results.values.get((figure.name, peer), []) if value is not None]
    return median(known) if known else None


def ratio(results: Results, figure: Figure, peer: str) -> Ratio | None:
    """Return pmap over `peer`: each round makes one ratio."""
    pairs = zip(
        results.values.get((figure.name, "pmap"), []),
        results.values.get((figure.name, peer), []),
        strict=False,
    )
    ratios = [a / b for a, b in pairs if a is not None and b]
    return Ratio(median(ratios), min(ratios), max(ratios)) if ratios else None


def reached(results: Results, figure: Figure, target: Target) -> bool | None:
    """Return whether pmap is where we want it; None where that is not known."""
    if target.to is None:
        value = middle(results, figure, "pmap")
    else:
        found = ratio(results, figure, target.to)
        value = found and found.middle
    if value is None:
        return None
    return value >= target.limit if figure.more else value <= target.limit


def number(value: float) -> str:
    """Return three digits of it."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def cell(results: Results, figure: Figure, peer: str) -> str:
    """Return the median as the table has it, or why there is none."""
    value = middle(results, figure, peer)
    if value is not None:
        return number(value)
    notes = results.notes.get(peer, [])
    return "-" if not notes else notes[-1] if notes[-1].startswith("over ") else "fails"


def wanted(results: Results, figure: Figure, target: Target) -> str:
    """Return the target, and whether it is reached."""
    sign = ">=" if figure.more else "<="
    to = f" x {target.to}" if target.to else ""
    mark = {True: "yes", False: "**no**", None: "?"}[reached(results, figure, target)]
    return f"{sign} {target.limit:g}{to}: {mark}"


def compared(results: Results, figure: Figure) -> str:
    """Return the ratios to the peers that the targets name, or else to the first peer."""
    named = [target.to for target in figure.targets if target.to]
    others = [peer for peer in results.work.peers if peer != "pmap"]
    shown: list[str] = []
    for peer in named or others[:1]:
        found = ratio(results, figure, peer)
        if found:
            spread = f"{number(found.least)} to {number(found.most)}"
            shown.append(f"**{number(found.middle)}** x {peer} ({spread})")
    return "; ".join(shown) or "-"


def table(results: Results) -> str:
    """Return the table of one work."""
    work = results.work
    asked = {peer for _, peer in results.values}
    peers = [peer for peer in work.peers if peer in asked]
    head = ["", *peers, "pmap's ratio", "target"]
    lines = [f"### {work.what}", "", f"`--only {work.name}`", ""]
    lines += [f"| {' | '.join(head)} |", f"|---|{'---:|' * len(peers)}---|---|"]
    for figure in work.figures:
        cells = [
            f"{figure.name}, {figure.unit}" if figure.unit else figure.name,
            *(cell(results, figure, peer) for peer in peers),
            compared(results, figure),
            "; ".join(wanted(results, figure, target) for target in figure.targets),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    for peer, notes in results.notes.items():
        lines.append(f"\n{peer}: {notes[0]} (in {len(notes)} rounds)")
    return "\n".join(lines)


def _version(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"no {package}"


def machine(pmap_version: str, processes: int, rounds: int) -> str:
    """Return what was measured where."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    system = f"{platform.system()} {platform.machine()}"
    load = f"load {os.getloadavg()[0]:.1f} before"
    packages = ", ".join(map(_version, PACKAGES))
    return (
        f"pmap {pmap_version}, {python}, {system}, {os.cpu_count()} CPUs, {load}; {packages}.\n"
        f"{processes} workers; medians of {rounds} rounds."
    )


def as_json(all_results: Iterable[Results]) -> list[dict[str, object]]:
    """Return all values of all rounds."""
    return [
        {
            "work": results.work.name,
            "figure": figure.name,
            "unit": figure.unit,
            "more_is_better": figure.more,
            "targets": [{"limit": t.limit, "to": t.to} for t in figure.targets],
            "reached": [reached(results, figure, target) for target in figure.targets],
            "values": {p: results.values.get((figure.name, p), []) for p in results.work.peers},
            "notes": results.notes,
        }
        for results in all_results
        for figure in results.work.figures
    ]
