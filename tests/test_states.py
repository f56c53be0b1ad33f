"""The pictures in docs/states.md are those of the tables in the code.

``python -m tests.test_states`` writes them anew.
"""

from pathlib import Path
from typing import Final

from tests.watched_states import States

from pmap._api import stream_states
from pmap._backends import connection_states
from pmap._jobs import pending as _pending
from pmap._scheduling import job_states, worker_states

PAGE: Final = Path(__file__).parents[1] / "docs" / "states.md"
# By the heading above it, what each picture is made of.
TABLES: Final[dict[str, States]] = {
    "A worker, for the scheduler": worker_states,
    "A job, for the scheduler": job_states,
    "A connection to a worker": connection_states,
    "What is pending": _pending,
    "A stream of results": stream_states,
}


def picture(states: States) -> str:
    """Return a table of transitions as a state diagram of Mermaid."""
    names = states.NAMES
    lines = ["stateDiagram-v2"]
    lines += [f"    [*] --> {names[state]}: {why}" for state, why in states.STARTS.items()]
    for before, after in states.TRANSITIONS.items():
        lines += [f"    {names[before]} --> {names[to]}: {why}" for to, why in after.items()]
    return "\n".join(["```mermaid", *lines, "```"])


def page_with_pictures(text: str) -> str:
    """Return the page with each picture as the code has it."""
    for heading, states in TABLES.items():
        before, found, rest = text.partition(f"## {heading}\n")
        assert found, f"docs/states.md has no heading {heading!r}"
        above, _, rest = rest.partition("```mermaid")
        rest = rest.partition("```")[2]
        text = before + found + above + picture(states) + rest
    return text


def test_the_pictures_are_those_of_the_code() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == page_with_pictures(text), "run python -m tests.test_states"


def test_each_state_has_a_name_and_its_transitions() -> None:
    for states in TABLES.values():
        numbers = range(len(states.NAMES))
        assert [*states.TRANSITIONS] == [*numbers]
        for name, number in zip(states.NAMES, numbers, strict=True):
            assert getattr(states, name.upper()) == number
        reached = {to for after in states.TRANSITIONS.values() for to in after}
        assert {*states.STARTS} | reached == {*numbers}


if __name__ == "__main__":
    PAGE.write_text(page_with_pictures(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
