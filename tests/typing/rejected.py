"""Never run: each of these calls is a mistake that both checkers must see.

Where a checker no longer sees one, its comment is no longer needed, and that is an error.
"""

import asyncio
import multiprocessing.pool
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future

from pmap import (
    AsyncResult,
    Executor,
    Failure,
    Map,
    Pool,
    Progress,
    ResultStream,
    ThreadPool,
    Trace,
    as_completed,
    call,
    failed,
    gather,
    papply,
    papply_async,
    pcall,
    pmap,
    pmap_async,
    pstarmap,
    split,
    sync,
)


def one(x: int) -> str:
    return str(x)


def two(x: int, name: str) -> float:
    return x + len(name)


def needs_keyword(x: int, *, depth: int) -> int:
    return x + depth


def pairs() -> list[tuple[str, int]]:
    return [("a", 1)]


def lists() -> list[list[int]]:
    return [[1]]


# explain takes what the verb takes
pmap.explain(one, ["a"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
pmap.explain(two, [1])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
pstarmap.explain(two, [("a", 1)])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
papply.explain(one, "a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

# pmap: the wrong element type, the wrong number of iterables, no function, no iterable
pmap(one, ["a"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
pmap(two, [1])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
pmap(one, [1], [2])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
pmap(two, ["a"], [1])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
pmap([1], one)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
pmap(one(1), [1])  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
pmap(None, [1])  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
pmap(one, 5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
pmap(one)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
pmap(needs_keyword, [1])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
wrong_result: list[int] = pmap(one, [1])  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]
pmap_async(one, ["a"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
wrong_later: list[str] = pmap_async(one, [1])  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]

# pstarmap: swapped, too short and too long rows; rows that are lists; one iterable per argument
pstarmap(two, pairs())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
pstarmap(two, [(1,)])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
pstarmap(two, [(1, "a", 2)])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
pstarmap(one, lists())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
pstarmap(two, [1], ["a"])  # type: ignore[arg-type, call-arg, list-item]  # pyright: ignore[reportCallIssue]
pstarmap.async_(two, pairs())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

# papply: arguments and keywords as f has them; no options
papply(one, "a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
papply(two, 1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
papply(two, 1, nam="a")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
papply(two, 1, name="a", chunksize=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
papply(needs_keyword, 1, 2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
papply_async(one, "a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
wrong_text: int = papply(one, 1)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]

# options: unknown, of the wrong type, a word that is none
pmap.using(procs=2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
pmap.using(processes="2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
pmap(one, [1], procs=2)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
pmap(one, [1], chunksize="2")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
pmap.using(backend="process")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
pmap.using(backend=object())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
pmap.using(start_method="forks")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
pmap.using(2)  # type: ignore[arg-type, call-arg]  # pyright: ignore[reportCallIssue]
pmap.using(timeout="3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
pmap.using(retries="2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
pmap.using(retry_on=ValueError())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def foreign(pool: multiprocessing.pool.Pool) -> Map:
    return pmap.using(pool=pool)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# collecting: a failure may stand in the result
surely: list[str] = pmap.collecting(one, [1])  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
sure: str = papply.collecting(one, 1)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
pmap.collecting(one, [1])[0].upper()  # type: ignore[union-attr]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
pmap.colecting  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
no_failures: Map = pmap.collecting  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]


def narrower(later: AsyncResult[object]) -> AsyncResult[int]:
    return later  # type: ignore[return-value]  # pyright: ignore[reportReturnType]


# a verb does not change
pmap.using(processes=2)._collect = True  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
expects: Callable[[Callable[[int], str], list[str]], list[str]] = pmap  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
pmap.unknown = 1  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
papply.timeout = 3  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
pmap.collecting.using(processes=2)._settings = None  # type: ignore[misc, assignment]  # pyright: ignore[reportAttributeAccessIssue]
Map(1, 2, 3, 4)  # type: ignore[call-arg, arg-type]  # pyright: ignore[reportCallIssue]
Map(processes=2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def changed(failure: Failure) -> None:
    failure.index = 3  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    failure.retry()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    match failure:
        case Failure(error, index):
            index.upper()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
            error.index()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


failure: Failure = Failure()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]

# streams
pmap.iter(one, ["a"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
pmap.iter_unordered(two, [1], [2])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
pmap.iter(one, [1], buffersize="2")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
pstarmap.iter(two, pairs())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
floats: ResultStream[float] = pmap.iter(one, [1])  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]


def narrower_stream(stream: ResultStream[object]) -> ResultStream[int]:
    return stream  # type: ignore[return-value]  # pyright: ignore[reportReturnType]


# several together
call(two, 1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
call(one, "a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
pcall(one)  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
wrong_pair: tuple[int, str] = pcall(call(one, 1), call(one, 1))  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
gather(1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
papply_async(one, 1).then(one)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
pmap(sync(one), [1])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def coroutine(x: int) -> str:
    return str(x)


async def texts() -> AsyncIterator[str]:
    yield "a"


# streams again: input of the wrong type, also asynchronous; one asynchronous iterable on its own
pmap.iter(one, texts())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
pmap.iter_unordered(one, texts())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
pmap.iter(two, texts(), [1])  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
pmap(one, texts())  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
pmap.async_(one, texts())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
pstarmap.iter(two, texts())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
pstarmap.iter_unordered(two, [(1,)])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
pmap.iter(one, [1], [2])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
pmap.iter(one)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
pmap.iter(one, 5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
pmap.iter(one, [1], size=2)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
sure_stream: ResultStream[str] = pmap.collecting.iter(one, [1])  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
next(pmap.iter(one, [1])) + 1  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue, reportUnusedExpression]
pmap.iter(one, [1]).next("soon")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def streams_of(pool: Pool) -> None:
    pool.imap(one, ["a"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    pool.imap_unordered(one, [1], "5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    pool.istarmap(two, pairs())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    pool.istarmap(two, [(1,)])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def futures_of(executor: Executor) -> None:
    executor.submit(one, "a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    executor.submit(one)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Executor(2, None, one, ("a",))  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]


# the arguments of a pool's calls, and of its initializer: in a tuple they are checked
def greet(name: str) -> None:
    print(name)


def calls_of(pool: Pool) -> None:
    pool.apply(one, ("a",))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    pool.apply(one)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    pool.apply(two, (1,))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    pool.apply(one, 1)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    pool.apply(one, kwds=[1])  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    pool.apply_async(one, ("a",))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    pool.apply_async(one, ("a",), callback=print)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    pool.apply_async(one, (1,), keywords={})  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    pool.apply_async(one, (1,), callback=two)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    wrong: int = pool.apply(one, kwds={"x": 1})  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    del wrong


Pool(2, greet, (1,))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
Pool(2, greet)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Pool(2, greet, ())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
Pool(2, greet, ("a", "b"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
Pool(2, greet, "a")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
Pool(2, initializer=greet, initargs=(1,))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
Pool(initializer=greet, initargs=(1,))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
Pool(initializer=greet)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Pool(2, context="spawn")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
Executor(2, mp_context="spawn")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
Pool("2")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
Pool(2, backend="threads")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
ThreadPool(2, greet, (1,))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
ThreadPool(2, maxtasksperchild=1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]


async def go_through() -> None:
    async for text in pmap.iter(one, [1]):
        text += 1  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue, reportUnknownVariableType]
    number: int = await papply_async(one, 1)  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]
    group = asyncio.TaskGroup()
    group.create_task(papply_async(one, 1))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    del number


# handles again
gather([papply_async(one, 1)])  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
wrong_tuple: tuple[str, str] = gather(papply_async(one, 1), papply_async(len, "a")).get()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
papply_async(one, 1).then(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
papply_async(one, 1).then(two)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
papply_async(one, 1).add_done_callback(one)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
wrong_future: Future[int] = papply_async(one, 1).future()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
as_completed(papply_async(one, 1))  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
as_completed([1])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]

# calls again
call(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
call(needs_keyword, 1, 2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
pcall(one(1))  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
pcall(call(one, 1), 5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
pcall.async_(call)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
pcall.collecting(call(one, 1))[0].upper()  # type: ignore[union-attr]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
pcall(call(one, 1), chunksize=1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]

# failures and coroutine functions
split(5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
failed()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
only_good: list[str] = pmap.collecting(one, [1])  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
sync(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
texts_of: list[str] = pmap(coroutine, [1])  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]
pmap(sync(coroutine), ["a"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
sync(coroutine)("a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# progress: neither a flag, nor a label, nor a function that takes what is told
def of_rows(rows: list[int]) -> None: ...
def of_two(done: int, total: int) -> None: ...


pmap(one, [1], progress=3)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
pmap(one, [1], progress=None)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
pmap(one, [1], progress=of_rows)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
pmap(one, [1], progress=of_two)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
pmap(one, [1], progress=lambda now: now.percent)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownLambdaType]
papply.using(progress=1.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Progress(1, 2).done = 3  # type: ignore[misc, call-arg]  # pyright: ignore[reportAttributeAccessIssue, reportCallIssue]
Pool(2).map(one, [1], progress=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
len(pmap.iter(one, [1]))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

# trace: neither a flag, nor a path, nor a trace
pmap(one, [1], trace=3)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
pmap(one, [1], trace=None)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
pmap(one, [1], trace=Trace)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
pmap(one, [1], trace=b"run.svg")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
Trace().spans()[0].start = 3  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
