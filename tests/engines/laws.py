"""The tests of the laws that run on engines, too, by the number of the law in docs/laws.md."""

from collections.abc import Callable
from typing import Final, TypeAlias

from tests.contract import test_laws as laws
from tests.contract import test_streams as streams
from tests.contract import test_surroundings as surroundings
from tests.engines import own_laws

Laws: TypeAlias = dict[str, tuple[Callable[..., None], ...]]

# Those that every engine keeps.
ON_ALL: Final[Laws] = {
    "1 result": (
        laws.test_map_is_map,
        laws.test_starmap_is_starmap,
        laws.test_several_iterables_stop_at_the_shortest,
        laws.test_apply_is_a_call,
        laws.test_large_values,
        laws.test_many_items,
        laws.test_infinite_second_iterable,
    ),
    "2 error": (
        laws.test_the_error_is_the_serial_loops,
        laws.test_collecting_stops_nothing,
        laws.test_an_earlier_item_that_fails_later_wins,
        laws.test_wrong_row_is_its_own_error,
        laws.test_control_flow_arrives_as_an_error,
        laws.test_error_of_the_iterable_is_the_callers,
        laws.test_a_running_later_item_does_not_hold_up_the_error,
    ),
    "3 once": (laws.test_later_items_stop, own_laws.test_a_chunk_ends_with_its_first_failure),
    "4 order": (
        laws.test_order_is_the_inputs,
        laws.test_a_slow_item_holds_up_no_other,
    ),
    "5 blocking": (
        laws.test_async_returns_before_its_function_ran,
        laws.test_async_runs_though_nobody_asks,
        laws.test_two_calls_run_beside_each_other,
        laws.test_callers_in_many_threads,
    ),
    "6 bounded": (
        streams.test_results_are_those_of_map,
        streams.test_the_bound_holds_with_an_endless_input,
        streams.test_nothing_is_read_before_the_first_result_is_asked_for,
    ),
    "10 no surprise": (
        surroundings.test_functions_that_no_import_finds,
        surroundings.test_nested_calls,
        surroundings.test_a_pool_inside_an_item,
        surroundings.test_an_empty_result_is_the_callers_own,
    ),
    "retries": (own_laws.test_an_item_is_tried_again,),
    "seed": (own_laws.test_random_numbers_are_those_of_the_seed,),
}

# That of an engine whose items have the directory, the variables and the import path of the caller.
OF_THE_CALLER: Final[Laws] = {
    "10 environment": (surroundings.test_surroundings_are_the_callers,),
}

# Those that engines keep whose items run in processes of pmap.
WITH_INNER_WORKERS: Final[Laws] = {
    "3 once": (own_laws.test_an_item_that_kills_its_process_begins_once,),
    "7 one item at most": (
        own_laws.test_a_death_costs_one_item,
        own_laws.test_the_stack_of_a_lost_item_arrives,
    ),
    "8 initializer": (own_laws.test_the_initializer_fails,),
    "timeout": (
        own_laws.test_an_item_that_takes_too_long_is_ended,
        own_laws.test_only_the_time_that_an_item_runs_counts,
    ),
    "retries": (own_laws.test_lost_items_are_tried_again,),
    "isolate": (own_laws.test_each_item_has_a_process_of_its_own,),
}


# That of an engine that can end a task.
WHERE_TASKS_END: Final[Laws] = {"5 cancel": (own_laws.test_a_cancelled_call_ends_what_runs,)}

# In the order of the table in docs/backends.md.
COLUMNS: Final = (
    *("1 result", "2 error", "3 once", "4 order", "5 blocking", "5 cancel", "6 bounded"),
    *("7 one item at most", "8 initializer", "10 no surprise", "10 environment"),
    *("timeout", "retries", "isolate", "seed"),
)


def law_of(test: str) -> str:
    """Return the law that a test belongs to; empty: none."""
    for kind in (ON_ALL, OF_THE_CALLER, WITH_INNER_WORKERS, WHERE_TASKS_END):
        for law, tests in kind.items():
            if test in [one.__name__ for one in tests]:
                return law
    return ""


def by_name(*kinds: Laws) -> dict[str, Callable[..., None]]:
    """Return the tests of some laws, by their names."""
    return {test.__name__: test for kind in kinds for tests in kind.values() for test in tests}
