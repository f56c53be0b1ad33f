"""The table of docs/backends.md: which engine keeps which law, as the tests find it."""

from typing import Final

from tests.engines.laws import COLUMNS, WHERE_TASKS_END
from tests.engines.places import ALL, PAGE

BEGIN: Final = "<!-- laws: begin -->\n"
END: Final = "<!-- laws: end -->"
# By engine and law: whether all tests so far have passed.
passed: Final[dict[tuple[str, str], bool]] = {}


def note(engine: str, law: str, ok: bool) -> None:
    """Note the outcome of a test."""
    passed[engine, law] = ok and passed.get((engine, law), True)


def rows() -> dict[str, str]:
    """Return the lines of the table as they are, by engine."""
    table = PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    return {line.split("|")[1].strip(): line for line in table.splitlines()[2:]}


def write() -> None:
    """Write the rows of the engines that were tried anew."""
    tried = {engine for engine, _ in passed}
    now = rows()
    for place in ALL:
        if place.name in tried:
            cells: list[str] = []
            for law in COLUMNS:
                ok = passed.get((place.name, law))
                untried = "no" if law in WHERE_TASKS_END else "not tried"
                cells.append(
                    place.instead.get(law, untried) if ok is None else "yes" if ok else "**no**"
                )
            now[place.name] = f"| {place.name} | {' | '.join(cells)} |"
    lines = [f"| engine | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 1) + "|"]
    lines += [now[place.name] for place in ALL if place.name in now]
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(before + BEGIN + "\n".join(lines) + "\n" + END + after, encoding="utf-8")
