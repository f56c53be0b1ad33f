"""The messages for an option that does not exist; imported only after such a mistake.

Many libraries run functions in parallel, and each has names of its own for the same few options. If
a user gives an option the name that it has in another library, the message says its name in pmap.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress

from .describe import name_of, short_repr

# For each option of pmap: its names in other libraries, in lower case and without underscores.
_ELSEWHERE = {
    "processes": """
        njobs numjobs jobs maxjobs maxworkers workers numworkers nworkers nbworkers workercount
        cores ncores numcores maxcores cpus ncpus ncpu numcpus numcpu cpucount maxcpus procs nprocs
        numprocs nproc numproc maxprocs nprocesses nprocess numprocesses maxprocesses processcount
        processors nprocessors numprocessors process poolsize concurrency maxconcurrency
        concurrencylimit parallelism parallel nparallel maxparallel maxparallelism nodes ncpupercall
    """,
    "chunksize": """
        chunk chunklen chunklength chunks nchunks numchunks nsplits batch batchsize batches
        batchlen itemsperchunk itemspertask blocksize partitionsize minibatchsize
    """,
    "buffersize": """
        buffer buffered prefetch prefetchfactor predispatch queuesize qsize maxqueue maxqueuesize
        maxsize lookahead readahead maxtasksactive inflight maxinflight maxpending window
        backpressure
    """,
    "backend": """
        prefer require executor executortype executorclass kind mode engine pooltype poolclass
        scheduler workertype
    """,
    "start_method": """
        context mpcontext ctx mpctx method mpmethod mpstartmethod multiprocessingcontext
        multiprocessingmethod startmode contextmethod forkmethod
    """,
    "initializer": """
        init initfunc initfn initfunction workerinit workerinitfn workerinitializer setup
        onstart onworkerstart initialiser initialise initialize preload
    """,
    "initargs": """
        initarguments initializerargs initialiserargs initkwargs initializerkwargs
        initparams workerinitargs
    """,
    "max_tasks_per_child": """
        maxtasks maxtask tasksperchild tasksperworker maxtasksperworker maxtasksperprocess
        workerlifespan maxcalls maxcallsperchild maxrequests lifespan
    """,
    "max_memory_per_child": """
        memory maxmemory maxmem mem memlimit memorylimit maxmemoryperworker memoryperworker maxrss
        maxbytes
    """,
    "threads_per_worker": """
        innermaxnumthreads innerthreads blasthreads ompthreads ompnumthreads threadsperprocess
        threadspercore
    """,
    "isolate": "isolated fresh freshprocess newprocess forkperitem",
    "timeout": """
        timelimit tasktimeout itemtimeout maxtime maxseconds seconds ttl maxruntime timeoutseconds
        timeouts
    """,
    "deadline": """
        jobtimeout calltimeout totaltimeout overalltimeout globaltimeout timebudget timeoutall
    """,
    "retries": "retry maxretries nretries numretries attempts maxattempts tries ntries",
    "retry_on": "retryexceptions retryfor retryif retryonexception retryonexceptions exceptions",
    "seed": "randomstate randomseed rngseed seeds rng",
    "keep_input": "returninput withinput keepinputs",
    "progress": """
        progressbar showprogress displayprogress verbose verbosity desc description tqdm usetqdm
        pbar bar onprogress progresscallback
    """,
    "trace": """
        tracing traced profile profiler profiling timeline gantt timing timings recordtimes
        performancereport dashboard visualize insights enableinsights
    """,
    "checkpoint": "cache cachefile cachedir memo resume resumefile checkpointfile savefile",
    "kill_on_cancel": "killonexit killworkers forcekill",
}

# For options of other libraries that pmap does not have: what to use instead, with the names that
# these options have.
_INSTEAD = {
    "threads are workers of the threads backend: backend='threads', processes=...": """
        threads nthreads numthreads maxthreads threadcount usethreads threaded multithreading
        threading
    """,
    "progress=True shows a bar, which knows how many items there are; for one of your own make "
    "give a function: progress=f": """
        progressbarstyle progressbaroptions quiet silent total tqdmkwargs tqdmclass disable leave
        unit ascii iterablelen
    """,
    "results are in the order of the input, and those of pimap_unordered as they come": """
        ordered unordered order keeporder preserveorder inorder sort sorted
    """,
    "pmap.collecting(f, xs) returns a Failure where an item failed, and stops at none": """
        returnexceptions returnexception onerror onerrors errors errorhandling raiseerrors
        raiseonerror raiseexceptions raiseexception ignoreerrors skiperrors continueonerror
        stoponerror failfast onexception catch catcherrors
    """,
    "pmap_async(f, xs).add_done_callback(...) calls a function at the end": """
        callback callbacks errorcallback donecallback ondone oncomplete onfinish onsuccess
    """,
    "pmap_async(f, xs) returns at once": "asynchronous background blocking wait nowait isasync",
    "pimap(f, xs) returns the results as they come": "returnas generator asgenerator lazy stream",
    "functions, and what they need, travel by value anyway": """
        usedill dill pickler serializer serialiser serialize cloudpickle usecloudpickle
    """,
    "workers end with the program, whatever ends it": "daemon daemonic",
}

# For each backend of pmap: its names in other libraries.
_BACKENDS = {
    "processes": """
        process processpool multiprocessing multiprocess mp loky pebble pathos ray fork spawn
        forkserver
    """,
    "threads": "thread threading threadpool threaded multithreading sharedmem",
    "interpreters": "interpreter subinterpreters subinterpreter interpreterpool",
    "serial": """
        sequential sync synchronous single singlethreaded singlethread debug inline main none
    """,
}

_ARGUMENTS = """
    args arguments kwargs kwds keywords fargs fkwargs funcargs funckwargs functionargs extra
    extraargs moreargs params parameters constants const constant static fixed
    sharedobjects shared common
"""


def no_such_option(
    name: str,
    value: object,
    checks: Mapping[str, Callable[[str, object], object]],
    verb: str,
    function: object,
) -> str:
    """Return the message for an option that does not exist.

    Args:
        name: the name of the option, as it was given.
        value: the value that it was given.
        checks: the options that exist; each has a function that raises if a value is not allowed.
        verb: the name of the verb that was called; empty if none was called, as in ``using``.
        function: the function that the verb was called with.
    """
    start = f"there is no option {name!r}"
    own = _own_argument(name, function) if verb else False
    f = _name(function) if verb else "f"
    if own is True:
        return (
            f"{start}, and {f} has an argument of this name: write {_partial(verb, f, name, value)}"
        )
    if _plain(name) in _ARGUMENTS.split():
        return f"{start}; for arguments that stay the same write {_partial(verb, f)}"
    known = _known(name, value, checks)
    for_f = f" If it is for {f}, write {_partial(verb, f, name, value)}." if verb else ""
    if known:
        return f"{start}{known}{'.' + for_f if own is None else ''}"
    import difflib

    near = difflib.get_close_matches(name, checks, n=1, cutoff=0.6 if verb else 0.4)
    question = f"; did you mean {near[0]!r}?" if near else "."
    return f"{start}{question}{for_f} The options are {', '.join(sorted(checks))}"


_OF_POOL = {
    "processes": "processes",
    "initializer": "initializer",
    "initargs": "initargs",
    "max_tasks_per_child": "maxtasksperchild",
    "start_method": "context",
}


def refused_by_pool(
    name: str,
    value: object,
    call: Mapping[str, Callable[[str, object], object]],
    worker: Mapping[str, Callable[[str, object], object]],
) -> str:
    """Return the message for a keyword that a `Pool` does not take.

    `call` has the options of a call, and `worker` those of workers, each with its check.
    """
    option = option_called(name) or ""
    if option in call:
        return f"the verbs take it, on a pool as well: pmap(f, xs, pool=pool, {option}=...)"
    if option in _OF_POOL:
        if option == "start_method":
            method = value if value in ("fork", "forkserver") else "spawn"
            return f"did you mean 'context'? Write context=multiprocessing.get_context({method!r})"
        own = _OF_POOL[option]
        written = _as_option(option, value, worker[option])
        return f"did you mean {own!r}? {written.replace(f'Write {option}=', f'Write {own}=')}"
    if option in worker:
        return f"a Pool has none; the verbs take it, for pools that they share: {option}=..."
    known = _known(name, value, {})
    return f"a Pool takes {', '.join(_OF_POOL.values())}, main" + known


def option_called(name: str) -> str | None:
    """Return the option that pmap or another library calls `name`; None if there is none.

    >>> option_called("n_jobs"), option_called("chunksize"), option_called("base")
    ('processes', 'chunksize', None)
    """
    plain = _plain(name)
    options = {"pool": "", "main": "", "kill_over_memory": "", **_ELSEWHERE}
    for option, names in options.items():
        if plain == _plain(option) or plain in names.split():
            return option
    return None


def backend_called(value: object) -> str | None:
    """Return the backend that other libraries call `value`; None if no library does.

    >>> backend_called("loky"), backend_called("threading"), backend_called(3)
    ('processes', 'threads', None)
    """
    if not isinstance(value, str):
        return None
    plain = _plain(value)
    return next((name for name, names in _BACKENDS.items() if plain in names.split()), None)


def _known(name: str, value: object, checks: Mapping[str, Callable[[str, object], object]]) -> str:
    """Return the end of a message: what pmap has for an option that other libraries call `name`.

    The text is empty if no library is known to have such an option.

    >>> _known("cores", 2, {"processes": lambda _name, value: value})
    "; did you mean 'processes'? Write processes=2"
    """
    plain = _plain(name)
    for option in checks:
        if plain == _plain(option) or plain in _ELSEWHERE.get(option, "").split():
            return f"; did you mean {option!r}? {_as_option(option, value, checks[option])}"
    for instead, names in _INSTEAD.items():
        if plain in names.split():
            return f"; {instead}"
    return ""


def _as_option(option: str, value: object, check: Callable[[str, object], object]) -> str:
    """Return how to write in pmap the value that was given to another library's option."""
    if option == "processes" and isinstance(value, int | float) and value <= 0:
        return "Leave it out for one worker per CPU"
    if (
        option == "start_method"
        and hasattr(value, "get_start_method")
        and not isinstance(value, type)
    ):
        ask: Callable[[], object] = getattr(value, "get_start_method")  # noqa: B009 - unknown type
        value = ask()
    if option == "backend":
        value = backend_called(value) or value
    if option == "progress" and isinstance(value, int):
        # Other libraries have a level of verbosity for this; in pmap the option is true or false.
        value = bool(value)
    try:
        check(option, value)
    except Exception as error:
        # pmap does not allow this value. The exception says which values are allowed.
        return str(getattr(error, "allowed", option))
    return f"Write {option}={short_repr(value, 40)}"


def _plain(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


def _name(function: object) -> str:
    """Return the name of `function`, or "f" if the name cannot stand in an example of code."""
    name = name_of(function)
    return name if name.replace(".", "").isidentifier() else "f"


def _partial(verb: str, f: str, name: str = "", value: object = None) -> str:
    rest = "rows" if "star" in verb else "xs"
    given = f"{name}={short_repr(value, 40)}" if name else "..."
    return f"{verb or 'pmap'}(functools.partial({f}, {given}), {rest})"


def _own_argument(name: str, function: object) -> bool | None:
    """Return whether `function` has a parameter for the keyword `name`.

    Return None if it takes any keyword, or if its signature is unknown.
    """
    import inspect

    signature: inspect.Signature | None = None
    # A built-in function may have no signature, and a `__signature__` may be faulty.
    with suppress(Exception):
        signature = inspect.signature(function) if callable(function) else None
    if signature is None:
        return None
    kinds = {key: parameter.kind for key, parameter in signature.parameters.items()}
    if name in kinds:
        keyword = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        return kinds[name] in keyword
    return None if inspect.Parameter.VAR_KEYWORD in kinds.values() else False
