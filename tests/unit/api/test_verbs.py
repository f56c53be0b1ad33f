"""A verb reads like the function it looks like: help, signature, repr, completion, pickle."""

import copy
import doctest
import inspect
import pickle
import pydoc
import rlcompleter
from collections.abc import Callable, Iterator
from typing import TypeAlias, get_type_hints

import pytest

import pmap as door
from pmap import (
    Apply,
    Failure,
    Map,
    OptionError,
    Options,
    StarMap,
    failed,
    papply,
    papply_async,
    pcall,
    pmap,
    pmap_async,
    pstarmap,
    pstarmap_async,
)

Verb: TypeAlias = Map | StarMap | Apply

VERBS: list[Verb] = [pmap, pstarmap, papply]
NAMES = ["pmap", "pstarmap", "papply"]
MAPPING: list[Map | StarMap] = [pmap, pstarmap]

each_verb = pytest.mark.parametrize(
    ("verb", "name"), list(zip(VERBS, NAMES, strict=True)), ids=NAMES
)


def double(x: int) -> int:
    return 2 * x


def help_on(thing: object) -> str:
    return pydoc.plain(pydoc.render_doc(thing))


# -- results (the laws are tested elsewhere, over all backends) --------------------------------


def test_the_async_twins_return_the_same() -> None:
    here = pmap.using(backend="serial")
    assert here.async_(double, [1, 2]).get() == [2, 4]
    assert pstarmap.async_(pow, [(2, 3)], backend="serial").get() == [8]
    assert papply.using(backend="serial").async_(int, "ff", base=16).get() == 255


def test_collecting() -> None:
    good, bad = pmap.using(backend="serial").collecting(int, ["1", "x"])
    assert good == 1
    assert isinstance(bad, Failure)
    assert bad.index == 1
    assert isinstance(papply.using(backend="serial").collecting(int, "x"), Failure)
    assert isinstance(pstarmap.collecting(divmod, [(1, 0)], backend="serial")[0], Failure)
    with pytest.raises(ValueError, match="'x'"):
        pmap(int, ["1", "x"], backend="serial")


def test_the_keywords_of_papply_belong_to_the_function() -> None:
    def options(**kwargs: int) -> dict[str, int]:
        return kwargs

    here = papply.using(backend="serial")
    assert here(options, processes=0, chunksize=-1, f=1, self=2) == {
        "processes": 0,
        "chunksize": -1,
        "f": 1,
        "self": 2,
    }


# -- settings ----------------------------------------------------------------------------------


@each_verb
def test_using_returns_another_verb_of_the_same_kind(verb: Verb, name: str) -> None:
    other = verb.using(processes=2)
    assert type(other) is type(verb)
    assert other != verb
    assert other == verb.using(processes=2)
    assert hash(other) == hash(verb.using(processes=2))
    assert repr(verb) == name


@each_verb
def test_a_verb_is_immutable(verb: Verb, name: str) -> None:
    with pytest.raises(AttributeError, match="cannot set '_collect'"):
        verb._collect = True  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    assert repr(verb) == name


def test_a_wrong_option_is_told_at_once() -> None:
    with pytest.raises(OptionError, match="did you mean 'processes'"):
        pmap.using(procs=2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    with pytest.raises(OptionError, match="chunksize=0"):
        pmap(double, [1], chunksize=0)
    with pytest.raises(OptionError, match="chunksize=0"):
        pstarmap.async_(double, [(1,)], chunksize=0)


@pytest.mark.parametrize("verb", MAPPING, ids=repr)
def test_the_options_of_a_call_are_for_that_call(verb: Map | StarMap) -> None:
    settings = verb._settings
    with pytest.raises(TypeError):
        verb(None, [], chunksize=3)  # type: ignore[call-overload, arg-type]  # pyright: ignore[reportArgumentType]
    assert verb._settings is settings


# -- like a function ---------------------------------------------------------------------------


@each_verb
def test_the_names_of_a_verb(verb: Verb, name: str) -> None:
    assert all(is_so(verb) for is_so in (inspect.isroutine, callable))
    for one in (verb, verb.using(processes=3), verb.collecting):
        assert vars(one)["__name__"] == vars(one)["__qualname__"] == name
    assert verb.__module__ == "pmap"
    assert not hasattr(verb, "__wrapped__")
    assert vars(verb)["__doc__"] == type(verb).__call__.__doc__ != type(verb).__doc__


@each_verb
def test_help_is_that_of_a_function(verb: Verb, name: str) -> None:
    text = help_on(verb)
    assert text.splitlines()[0].endswith("in module pmap")
    signature = "".join(line.strip() + " " for line in text.splitlines()[2:])
    assert signature.replace("( ", "(").startswith(f"{name}(f, ")  # 3.13 breaks long ones
    for part in (f">>> {name}(", "Args:", "Returns:", "Raises:"):
        assert part in text
    for noise in ("__init__", "Fail_co", "Unpack", "<class", "_settings", "__get__"):
        assert noise not in text
    if verb is not papply:
        assert "Options:\n" in text
        for option in Options.__annotations__:
            assert f"\n        {option}: " in text
    # Without the signature, which has a line for each option from Python 3.13 on.
    own = (inspect.getdoc(verb) or "").partition("Options:\n")[0]
    assert 10 < len(own.splitlines()) < 77


def test_help_on_using_lists_the_options() -> None:
    for verb in VERBS:
        text = help_on(verb.using)
        assert "using( *, pool: " in " ".join(text.replace("(", "( ").split())
        for option in Options.__annotations__:
            assert f"\n        {option}: " in text


@pytest.mark.parametrize("form", [pmap_async, pstarmap_async, papply_async], ids=NAMES)
def test_help_on_an_async_form(form: object) -> None:
    text = help_on(form)
    assert "in module pmap" in text.splitlines()[0]
    assert "_verbs" not in text
    assert "Return an `AsyncResult` at once" in text
    assert "_async(" in text
    assert "Unpack" not in text


def test_the_signature_spells_out_the_options() -> None:
    for verb in MAPPING:
        parameters = inspect.signature(verb).parameters
        options = [n for n, p in parameters.items() if p.kind is p.KEYWORD_ONLY]
        assert options == list(Options.__annotations__)
        assert not any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    assert list(inspect.signature(pmap).parameters)[:3] == ["f", "xs", "more"]
    assert list(inspect.signature(pstarmap).parameters)[:2] == ["f", "rows"]


def test_the_signature_shows_the_present_values() -> None:
    verb = pmap.using(processes=8, chunksize=10)
    parameters = inspect.signature(verb).parameters
    assert parameters["processes"].default == 8
    assert parameters["chunksize"].default == 10
    assert parameters["backend"].default == "processes"
    assert inspect.signature(pmap).parameters["processes"].default is None
    assert "processes: int | None = 8" in str(inspect.signature(verb))


def test_the_signature_of_an_async_form() -> None:
    # A method knows no verb's settings, so its options show no values.
    text = str(inspect.signature(pmap_async))
    assert text.startswith("(f, xs, /, *more, pool: ")
    assert "processes: int | None = ...," in text
    assert str(inspect.signature(pstarmap_async)).startswith("(f, rows, /, *, pool: ")


def test_the_signature_of_papply_has_no_options() -> None:
    expected = "(f, /, *args, **kwargs)"
    assert str(inspect.signature(papply)) == expected
    assert str(inspect.signature(papply_async)) == expected
    assert str(inspect.signature(papply.using(processes=2))) == expected
    assert str(inspect.signature(pcall)) == str(inspect.signature(pcall.async_)) == "(*calls)"


def test_the_classes_can_be_looked_at() -> None:
    for kind in (Map, StarMap, Apply):
        inspect.signature(kind)
        assert "The class of `p" in help_on(kind)


def test_repr() -> None:
    assert repr(pmap) == "pmap"
    assert repr(pmap.using()) == "pmap"
    assert repr(pmap.using(processes=8)) == "pmap.using(processes=8)"
    assert repr(pmap.collecting) == "pmap.collecting"
    assert (
        repr(pstarmap.collecting.using(chunksize=1, backend="threads"))
        == "pstarmap.using(backend='threads', chunksize=1).collecting"
    )
    assert repr(papply.using(initializer=double)) == "papply.using(initializer=double)"
    assert repr(pmap_async) == "<bound method Map.async_ of pmap>"


def test_repr_of_what_cannot_be_shown() -> None:
    class Hostile:
        def __repr__(self) -> str:
            raise ValueError

    verb = pmap.using(initargs=(Hostile(),))
    assert "whose repr raised ValueError" in repr(verb)


@each_verb
def test_completion_shows_what_a_verb_has(verb: Verb, name: str) -> None:
    has = ["async_", "collecting", "explain", "iter", "iter_unordered", "using"]
    if name == "pmap":  # for programs that want a pool with a `map`
        has.insert(-1, "map")
    if name == "papply":  # one result: there is nothing to go through
        has = ["async_", "collecting", "explain", "using"]
    assert [n for n in dir(verb) if not n.startswith("_")] == has
    complete = rlcompleter.Completer({name: verb}).complete
    found = [complete(f"{name}.", n) for n in range(len(has))]
    assert [text and text.rstrip("()") for text in found] == [f"{name}.{n}" for n in has]


@each_verb
def test_a_verb_does_not_bind_to_what_it_is_an_attribute_of(verb: Verb, name: str) -> None:
    owner = type("Owner", (), {"verb": verb})
    assert getattr(owner, "verb") is verb  # noqa: B009 - the checkers cannot know it
    assert getattr(owner(), "verb") is verb  # noqa: B009
    assert repr(verb) == name


# -- pickle and copy ---------------------------------------------------------------------------


@each_verb
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_an_imported_verb_travels_by_name(verb: Verb, name: str, protocol: int) -> None:
    data = pickle.dumps(verb, protocol)
    assert pickle.loads(data) is verb
    assert name.encode() in data
    assert len(data) < 50


@each_verb
def test_a_changed_verb_travels_by_its_settings(verb: Verb, name: str) -> None:
    for changed in (verb.using(processes=2, chunksize=3), verb.collecting, verb.using()):
        copied: object = pickle.loads(pickle.dumps(changed))
        assert copied == changed
        assert type(copied) is type(verb)
        assert repr(copied) == repr(changed)
    assert repr(verb) == name


@each_verb
def test_a_copy_of_a_verb_is_itself(verb: Verb, name: str) -> None:
    for one in (verb, verb.using(processes=2), verb.collecting):
        assert copy.copy(one) is one
        assert copy.deepcopy([one])[0] is one
    assert repr(verb) == name


def test_an_async_form_travels() -> None:
    assert pickle.loads(pickle.dumps(pmap_async)) == pmap_async


# -- a wrong option --------------------------------------------------------------------------


def forms(verb: Map | StarMap) -> dict[str, Callable[..., object]]:
    return {
        "call": verb,
        "async": verb.async_,
        "iter": verb.iter,
        "unordered": verb.iter_unordered,
        "collecting": verb.collecting,
    }


@pytest.mark.parametrize("verb", MAPPING, ids=["pmap", "pstarmap"])
@pytest.mark.parametrize("form", list(forms(pmap)))
@pytest.mark.parametrize("wrong", [{"proceses": 2}, {"chunksize": 0}, {"timeout": -1.0}])
def test_a_wrong_option_is_seen_before_any_input_is_read(
    verb: Map | StarMap, form: str, wrong: dict[str, object]
) -> None:
    read: list[int] = []

    def rows() -> Iterator[tuple[int]]:
        for number in range(3):
            read.append(number)
            yield (number,)

    source = rows()
    with pytest.raises(OptionError):
        forms(verb)[form](double, source, **wrong)
    assert read == []
    assert next(source) == (0,)


# -- the door ----------------------------------------------------------------------------------


def test_all_is_sorted_and_true() -> None:
    assert door.__all__ == sorted(door.__all__)
    for name in door.__all__:
        assert hasattr(door, name)
    public = {n for n, v in vars(door).items() if not n.startswith("_") and not inspect.ismodule(v)}
    assert public == set(door.__all__) - {"__version__"}


def test_what_is_public_says_that_it_lives_at_the_door() -> None:
    for name in door.__all__:
        value = getattr(door, name)
        if isinstance(value, type):
            assert value.__module__ == "pmap"
            assert pickle.loads(pickle.dumps(value)) is value


def test_doctest_finds_the_examples_of_the_verbs() -> None:  # tests/examples runs them all
    found = doctest.DocTestFinder().find(door, "pmap", globs=dict(vars(door)))
    assert {f"pmap.{name}" for name in NAMES} <= {test.name for test in found if test.examples}


@pytest.mark.parametrize("name", [n for n in door.__all__ if n[0] == "p"])
def test_a_public_docstring_is_whole(name: str) -> None:
    text = getattr(door, name).__doc__
    assert text.splitlines()[0].startswith("Return ")
    for part in (">>> ", "Args:", "Returns:", "Raises:"):
        assert part in text
    for later in ("retries", "on_error"):
        assert later not in text.partition("Options:\n")[0]


def test_what_tells_failures_has_types_that_can_be_read_at_run_time() -> None:
    assert get_type_hints(failed).keys() == {"result", "return"}
