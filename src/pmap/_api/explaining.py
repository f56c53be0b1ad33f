"""The pools in which `explain` runs items, and the calls that `explain` makes there."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from typing import Any

from .._backends.permission import may_start_processes
from .._calls.call import Call, Kind, each_streamed, star_streamed
from .._calls.describe import short_repr
from .._calls.options import Settings, WorkerOptions
from .._engine.driver import Driver
from .._errors import OptionError
from .._explain.explain import Asked, Pools, explain
from .._explain.explanation import Explanation
from .._explain.source import Source, source_of
from .._scheduling.run_rules import RunRules
from .._types import Backend, is_iterable
from .first_call import pools_for
from .shared_pools import make_driver


class _OnDriver:
    """Runs the items of an explanation on the pool of a driver."""

    def __init__(self, call: Call, driver: Driver) -> None:
        self._verb = call.verb
        self._driver = driver
        self._rules = call.rules._replace(
            collect=True,
            stop=False,
            retries=(),
            at_once=False,
            keep_input=False,
            # The deadline of the call does not hold for its explanation.
            deadline=None,
            until=None,
        )

    @property
    def workers(self) -> int:
        return self._driver.limit

    @property
    def sends(self) -> bool:
        return self._driver.backend.can_kill

    def run(
        self,
        function: Callable[[Any], object],
        items: Sequence[object],
        *,
        timeout: float | None = None,
        chunksize: int | None = None,
    ) -> list[Any]:
        rules = self._rules._replace(timeout=timeout, chunksize=chunksize)
        job = self._driver.run(Call(self._verb, function, Kind.EACH, items, rules))
        if job.error is not None:
            raise job.error
        return job.values


def explain_each(
    verb: str,
    function: object,
    iterables: tuple[object, ...],
    rules: RunRules,
    settings: Settings,
) -> Explanation:
    """Explain the call of f(x) for each x, or f(x, y, ...) over several iterables.

    Raises:
        TypeError: `function` cannot run in a worker, or an iterable is none.
    """
    streamed = each_streamed(verb, function, iterables, rules)
    return explained(streamed.call, _source(verb, iterables), settings)


def explain_star(
    verb: str, function: object, rows: object, rules: RunRules, settings: Settings
) -> Explanation:
    """Explain the call of f(*row) for each row; this raises the same errors as `explain_each`."""
    streamed = star_streamed(verb, function, rows, rules)
    return explained(streamed.call, _source(verb, (rows,)), settings)


def explain_apply(call: Call, settings: Settings) -> Explanation:
    """Explain a call of one item."""
    return explained(call, source_of([call.items]), settings)


def _source(verb: str, iterables: tuple[object, ...]) -> Source:
    given: list[Iterable[object]] = []
    for iterable in iterables:
        if not is_iterable(iterable):
            raise TypeError(
                f"{verb}.explain reads plain iterables, got an asynchronous one, "
                f"{type(iterable).__name__}: {short_repr(iterable)}. Give a list of a few items"
            )
        given.append(iterable)
    return source_of(given)


def explained(call: Call, source: Source, settings: Settings) -> Explanation:
    """Return what `call` would cost and gain; its items are read from `source`.

    Raises:
        OptionError: the backend is an engine, whose costs are not known here.
    """
    if not isinstance(settings.worker.backend, str):
        raise OptionError(
            "backend",
            settings.worker.backend,
            "explain measures this machine: give it backend='processes', 'threads' or 'serial'",
        )
    with ExitStack() as stack:
        driver, ours = pools_for(call, settings).driver_for(settings)
        if ours:
            stack.callback(driver.close)

        def pool_of(backend: Backend) -> _OnDriver:
            """Return a new pool for measurements, with as many workers as the call would have."""
            made = make_driver(WorkerOptions(processes=driver.limit, backend=backend))
            stack.callback(made.terminate)
            return _OnDriver(call, made)

        own = _OnDriver(call, driver)
        backend = _backend_of(driver)
        processes = threads = burners = None
        if backend == "processes":
            processes = burners = own
            threads = pool_of("threads")
            # If workers are replaced after each chunk, measurements on them would mostly measure
            # how they start.
            if settings.worker.most_tasks is not None:
                burners = pool_of("processes")
        elif backend == "threads":
            threads = own
            if may_start_processes():
                processes = burners = pool_of("processes")
        rules = call.rules
        return explain(
            Asked(
                function=call.function,
                kind=call.kind,
                source=source,
                chunksize=rules.chunksize,
                at_once=(rules.chunksize or 1) if rules.at_once else 1,
                timeout=rules.timeout,
                one_thread=rules.seed is not None,
                sent_names=driver.backend.sent_names,
            ),
            Pools(
                backend=backend,
                own=own,
                is_cold=backend == "processes" and not driver.workers,
                processes=processes,
                burners=burners,
                threads=threads,
            ),
        )


def _backend_of(driver: Driver) -> Backend:
    if driver.backend.can_kill:
        return "processes"
    if driver.backend.sent_names is not None:
        return "interpreters"
    return "serial" if driver.backend.runs_in_poll else "threads"
