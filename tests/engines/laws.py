"""The tests of the laws that run on engines, too, by the number of the law in docs/laws.md."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from tests.contract import test_handles as handles
from tests.contract import test_laws as laws
from tests.contract import test_leaving_streams as leaving
from tests.contract import test_streams as streams
from tests.contract import test_surroundings as surroundings
from tests.contract import test_time as times
from tests.contract import test_tracebacks as tracebacks
from tests.engines import own_laws
from tests.engines.places import OnEngine

if TYPE_CHECKING:
    from pmap import Options

Laws: TypeAlias = dict[str, tuple[Callable[..., None], ...]]


def on_engine(test: "Callable[[Path, Options], None]") -> Callable[[Path, OnEngine], None]:
    """Return a test that takes options as one that takes an engine."""

    def run(tmp_path: Path, backend: OnEngine) -> None:
        test(tmp_path, backend.options())

    run.__name__ = test.__name__
    return run


# Those that every engine keeps.
ON_ALL: Final[Laws] = {
    "1 result": (
        laws.test_map_is_map,
        own_laws.test_a_large_function_goes_everywhere,
        laws.test_starmap_is_starmap,
        laws.test_several_iterables_stop_at_the_shortest,
        laws.test_apply_is_a_call,
        laws.test_large_values,
        laws.test_many_items,
        laws.test_infinite_second_iterable,
        streams.test_workers_fewer_equal_and_more_than_items,
        streams.test_several_iterables_end_with_the_shortest,
        streams.test_rows,
        streams.test_two_streams_interleaved,
        streams.test_a_stream_as_the_input_of_a_stream,
        streams.test_a_stream_for_each_of_several_threads,
        handles.test_await_many,
    ),
    "2 error": (
        laws.test_the_error_is_the_serial_loops,
        laws.test_collecting_stops_nothing,
        laws.test_an_earlier_item_that_fails_later_wins,
        laws.test_wrong_row_is_its_own_error,
        laws.test_control_flow_arrives_as_an_error,
        laws.test_error_of_the_iterable_is_the_callers,
        laws.test_a_running_later_item_does_not_hold_up_the_error,
        streams.test_a_failure_comes_in_its_place_and_ends_the_stream,
        streams.test_failures_can_be_values,
        streams.test_the_inputs_own_exception_comes_after_all_results,
        streams.test_unordered_raises_behind_what_came_before,
        streams.test_one_of_several_threads_gets_the_failure,
        handles.test_failed_handle,
        handles.test_await_an_error,
        tracebacks.test_the_user_sees_the_call_and_the_functions_below,
        tracebacks.test_rows_too,
        tracebacks.test_the_users_own_cause_arrives,
        tracebacks.test_a_failure_has_the_same_as_text,
        tracebacks.test_rows_for_the_wrong_verb_are_named,
    ),
    "3 once": (
        laws.test_later_items_stop,
        own_laws.test_a_chunk_ends_with_its_first_failure,
        own_laws.test_a_run_goes_on_from_a_checkpoint,
    ),
    "4 order": (
        laws.test_order_is_the_inputs,
        laws.test_a_slow_item_holds_up_no_other,
        laws.test_a_slow_item_behind_quick_ones_holds_up_no_other,
        streams.test_several_threads_share_a_stream,
    ),
    "5 blocking": (
        laws.test_async_returns_before_its_function_ran,
        laws.test_async_runs_though_nobody_asks,
        laws.test_two_calls_run_beside_each_other,
        laws.test_callers_in_many_threads,
        streams.test_plain_calls_between_results,
        handles.test_get_times_out_and_the_work_goes_on,
        handles.test_progress_and_repr,
        handles.test_cancel_costs_nobody_else,
        handles.test_cancel_when_over,
        handles.test_await,
        handles.test_await_twice_and_when_over,
        handles.test_cancelling_the_task_cancels_the_call,
        handles.test_wait_for_with_a_timeout,
        own_laws.test_what_a_deadline_leaves_is_a_failure,
    ),
    "6 bounded": (
        streams.test_results_are_those_of_map,
        streams.test_the_bound_holds_with_an_endless_input,
        streams.test_nothing_is_read_before_the_first_result_is_asked_for,
        streams.test_there_is_a_bound_by_default,
        streams.test_the_input_is_read_by_the_thread_that_asks,
        streams.test_nothing_is_read_while_nobody_asks,
        streams.test_the_input_sees_the_context_of_who_asks,
        streams.test_slow_input_does_not_hold_up_a_result,
        leaving.test_a_generator_is_closed_when_the_stream_is_left,
        leaving.test_a_stream_that_only_the_collector_finds,
        leaving.test_closed_while_the_first_input_is_read,
        leaving.test_closing_twice_and_asking_afterwards,
        leaving.test_a_timeout_leaves_nothing,
    ),
    "8 no hang": (
        streams.test_an_input_that_asks_for_a_result,
        leaving.test_closed_by_its_own_input,
        leaving.test_a_ctrl_c_while_reading,
        on_engine(times.test_cancelled_while_it_waits_for_its_next_try),
    ),
    "10 no surprise": (
        surroundings.test_functions_that_no_import_finds,
        surroundings.test_nested_calls,
        surroundings.test_a_pool_inside_an_item,
        surroundings.test_an_empty_result_is_the_callers_own,
        streams.test_a_stream_inside_an_item,
    ),
    "retries": (
        own_laws.test_an_item_is_tried_again,
        on_engine(times.test_in_streams_too),
        on_engine(times.test_what_the_function_raises_is_not),
        on_engine(times.test_the_last_error_says_how_often),
    ),
    "seed": (own_laws.test_random_numbers_are_those_of_the_seed,),
}

# That of an engine whose items have the directory, the variables and the import path of the caller.
OF_THE_CALLER: Final[Laws] = {
    "10 environment": (surroundings.test_surroundings_are_the_callers,),
}

# Those that engines keep whose items run in processes of pmap.
WITH_INNER_WORKERS: Final[Laws] = {
    "3 once": (own_laws.test_an_item_that_kills_its_process_begins_once,),
    "4 order": (
        streams.test_a_result_comes_as_soon_as_it_is_its_turn,
        streams.test_unordered_waits_for_nobody,
    ),
    "7 one item at most": (
        own_laws.test_a_death_costs_one_item,
        own_laws.test_the_stack_of_a_lost_item_arrives,
        streams.test_a_lost_worker_costs_one_item,
        streams.test_a_lost_worker_is_an_error_in_its_place,
    ),
    "initializer": (laws.test_an_initializer_that_fails,),
    "timeout": (
        own_laws.test_an_item_that_takes_too_long_is_ended,
        own_laws.test_only_the_time_that_an_item_runs_counts,
        own_laws.test_what_the_function_takes_to_load_does_not_count,
    ),
    "retries": (
        own_laws.test_lost_items_are_tried_again,
        on_engine(times.test_a_poisonous_item_is_given_up),
        on_engine(times.test_lost_workers_and_late_items_are_tried_again_by_default),
    ),
    "isolate": (own_laws.test_each_item_has_a_process_of_its_own,),
}

# Those of an engine that ends what runs.
WHERE_TASKS_END: Final[Laws] = {
    "5 cancel": (
        own_laws.test_a_cancelled_call_ends_what_runs,
        own_laws.test_what_is_not_to_be_killed_goes_on,
        handles.test_cancel,
        streams.test_five_and_no_more,
        leaving.test_an_abandoned_stream_ends_what_it_runs,
        leaving.test_closed_from_another_thread_while_its_consumer_waits,
        leaving.test_a_ctrl_c_while_waiting,
    ),
}

# That of an engine that ends what runs on another machine, too.
WHERE_TASKS_END_ANYWHERE: Final[Laws] = {
    "5 cancel": (own_laws.test_a_cancelled_call_ends_what_runs_without_marks,),
}

# In the order of the table in docs/backends.md.
COLUMNS: Final = (
    *("1 result", "2 error", "3 once", "4 order", "5 blocking", "5 cancel", "6 bounded"),
    *("7 one item at most", "8 no hang", "10 no surprise", "10 environment"),
    *("timeout", "retries", "isolate", "initializer", "seed"),
)


def law_of(test: str) -> str:
    """Return the law that a test belongs to; empty: none."""
    kinds = ON_ALL, OF_THE_CALLER, WITH_INNER_WORKERS, WHERE_TASKS_END, WHERE_TASKS_END_ANYWHERE
    for kind in kinds:
        for law, tests in kind.items():
            if test in [one.__name__ for one in tests]:
                return law
    return ""


# Of each of many laws one test that takes little, for each run of the tests.
QUICK: Final = (
    laws.test_map_is_map,
    laws.test_collecting_stops_nothing,
    laws.test_later_items_stop,
    laws.test_order_is_the_inputs,
    laws.test_two_calls_run_beside_each_other,
    streams.test_results_are_those_of_map,
    surroundings.test_nested_calls,
    surroundings.test_surroundings_are_the_callers,
    own_laws.test_a_cancelled_call_ends_what_runs,
    own_laws.test_what_is_not_to_be_killed_goes_on,
    own_laws.test_the_stack_of_a_lost_item_arrives,
    own_laws.test_what_the_function_takes_to_load_does_not_count,
)


def by_name(*kinds: Laws) -> dict[str, Callable[..., None]]:
    """Return the tests of some laws, by their names."""
    return {test.__name__: test for kind in kinds for tests in kind.values() for test in tests}
