"""Each kind of message arrives as it was made, through `framing`."""

from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pmap._transport import protocol
from pmap._transport.framing import FrameReader, frame
from pmap._transport.protocol import SetUp

few = settings(max_examples=20)
integers = st.integers(-(2**40), 2**40)
texts = st.text(max_size=8)
numbers = st.lists(integers, max_size=3).map(tuple)
entries = st.lists(st.one_of(integers, texts, st.tuples(integers, texts)), min_size=1, max_size=1)
some_entries: st.SearchStrategy[list[Any]] = st.one_of(st.just([]), entries)
may_stay = st.one_of(st.booleans(), st.tuples(integers, integers), st.binary(max_size=4))
names = st.lists(st.tuples(integers, texts, integers, may_stay), max_size=2).map(tuple)
environments = st.tuples(
    st.none() | texts,
    st.dictionaries(texts, texts, max_size=2),
    st.lists(texts, max_size=2),
    st.tuples(st.none(), integers, texts),
    st.lists(st.tuples(texts, st.booleans()), max_size=1),
)
streams = st.tuples(texts, texts, st.booleans(), st.booleans())
seconds = st.none() | st.floats(allow_nan=False)
rules = st.tuples(
    st.booleans(), st.booleans(), st.booleans(), seconds, st.none() | integers, st.booleans()
)
variables = st.lists(st.binary(max_size=4), max_size=2)

# For each kind: what makes it, what reads it, and its words. What `parse` returns of a message with
# one word is that word.
PAIRS: Final[dict[str, tuple[Callable[..., Any], Callable[..., Any], list[Any]]]] = {
    "DROP": (protocol.make_drop, protocol.parse_drop, [integers]),
    "DISCARD": (protocol.make_discard, protocol.parse_discard, [st.lists(integers)]),
    "BACK": (protocol.make_back, protocol.parse_back, [st.none() | st.lists(integers)]),
    "NEEDS": (protocol.make_needs, protocol.parse_needs, [integers, numbers, names]),
    "FORGET": (protocol.make_forget, protocol.parse_forget, [numbers]),
    "TIES": (protocol.make_ties, protocol.parse_ties, [st.none() | st.binary(), some_entries]),
    "READY": (protocol.make_ready, protocol.parse_ready, [integers]),
    "BROKEN": (protocol.make_broken, protocol.parse_broken, [st.lists(texts)]),
    "BEGUN": (protocol.make_begun, protocol.parse_begun, [integers]),
    "FORKED": (protocol.make_forked, protocol.parse_forked, [integers, integers]),
    "FAILED": (protocol.make_failed, protocol.parse_failed, [integers, integers]),
    "EXITED": (protocol.make_exited, protocol.parse_exited, [integers, integers]),
    "CROWDED": (protocol.make_crowded, protocol.parse_crowded, [integers]),
}
# These have no words, are read with the words of an entry, or are read where they are used.
WITHOUT_PARSE: Final = {"QUIT", "HELLO", "AGAIN"}
TESTED_ALONE: Final = {"SETUP", "CALL_SPEC", "UNIT"}
TYPED_TUPLES: Final = {"CHUNK", "RESULTS", "REPORT"}
KINDS: Final = sorted({*PAIRS, *WITHOUT_PARSE, *TESTED_ALONE, *TYPED_TUPLES})


def arrived(message: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a message as its receiver reads it."""
    (other,) = FrameReader().feed(frame(message))
    return other


@pytest.mark.parametrize("kind", PAIRS)
@few
@given(data=st.data())
def test_each_kind_is_read_as_it_was_made(kind: str, data: st.DataObject) -> None:
    make, parse, strategies = PAIRS[kind]
    words = [data.draw(strategy) for strategy in strategies]
    message = arrived(make(*words))
    assert message[0] == getattr(protocol, kind)
    assert parse(message) == (tuple(words) if len(words) > 1 else words[0])


@few
@given(
    st.tuples(integers, numbers, names, variables, rules, st.none() | environments, entries),
)
def test_a_call_spec_is_read_as_it_was_made(words: tuple[Any, ...]) -> None:
    message = arrived(protocol.make_call_spec(*words))
    assert message[0] == protocol.CALL_SPEC
    *others, (function,) = words
    assert protocol.parse_call_spec(message) == (*others, function)


@few
@given(st.tuples(integers, entries, numbers, numbers, numbers))
def test_a_unit_is_read_as_it_was_made(words: Any) -> None:
    message = arrived(protocol.make_unit(*words))
    assert message[0] == protocol.UNIT
    number, (values,), *versions = words
    assert protocol.parse_unit(message) == (number, values, *versions)


@few
@given(
    st.builds(
        SetUp,
        integers,
        st.tuples(numbers, texts, integers, texts),
        environments,
        st.lists(texts, max_size=2),
        numbers,
        st.none() | st.tuples(integers, st.none() | texts, st.none() | texts),
        numbers,
        names,
        some_entries,
        st.none() | integers,
        st.booleans(),
        st.booleans(),
        integers,
        st.tuples(streams, streams),
        st.none() | texts,
    )
)
def test_what_a_worker_is_told_first_is_read_as_it_was_made(setup: SetUp) -> None:
    message = arrived(protocol.make_setup(setup, setup.initializer))
    assert message[0] == protocol.SETUP
    read = protocol.parse_setup(message)
    for name in SetUp.__slots__:
        assert getattr(read, name) == getattr(setup, name), name


@few
@given(st.sampled_from([0, 1, 2, 3, 4]), st.integers(0, 2**62))
def test_a_request_is_read_as_it_was_made(request: int, number: int) -> None:
    data = protocol.make_request(request, number)
    assert len(data) == protocol.REQUEST_SIZE
    assert protocol.parse_request(data) == (request, number)


def test_each_kind_has_its_own_number_and_is_tested_here() -> None:
    found = {
        name: value
        for name, value in vars(protocol).items()
        if name.isupper() and isinstance(value, int) and name != "TYPE_CHECKING"
    }
    reports = {"OUTPUT", "ERRORS", "LOG", "WARNING", "FLUSH"}
    requests = {"FORK", "KILL", "ABORT", "PREPARE", "TERMINATE", "IMPORT", "REQUEST_SIZE"}
    kinds = {name: value for name, value in found.items() if name not in reports | requests}
    assert sorted(kinds) == KINDS
    assert len(set(kinds.values())) == len(kinds)
    for name in kinds:
        made = hasattr(protocol, f"make_{name.lower()}")
        assert made == (name not in TYPED_TUPLES), name
        read = hasattr(protocol, f"parse_{name.lower()}")
        assert read == (made and name not in WITHOUT_PARSE), name
