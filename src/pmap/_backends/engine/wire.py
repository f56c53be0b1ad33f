"""What the caller and a node (where an engine runs a task) send to each other, as bytes.

A task and its answer are pickles of plain values. A line before the pickle of a task names the
versions of pmap and Python. The node checks this line before it loads anything.
"""

import os
import pickle
import socket
import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from ..._transport.process_settings import without_machine

if TYPE_CHECKING:
    from ..._transport.environment import Environment
    from ..._transport.packing import Packed
    from ..._worker.relay import Spec

_PROTOCOL: Final = 5

# Environment variables that differ from machine to machine begin like these. A node on another
# machine than the caller keeps its own values.
_OF_THE_MACHINE: Final = ("PATH", "HOME", "TMPDIR", "LD_")
# An engine sets environment variables for its own workers; their names begin like these.
_OF_THE_ENGINE: Final = (
    *("CUDA_VISIBLE_DEVICES", "SLURM_", "OMPI_", "PMI", "RAY_", "DASK_", "PMAP_STARTED"),
    *("PMAP_DEPTH",),
)
# Beginnings of the names of environment variables by which MPI finds the job that a process belongs
# to. An inner worker is no process of the job. With these variables MPI in an inner worker would
# take the place of the process that started it, and both would crash, and the job with them.
_OF_THE_RANK: Final = ("PMI", "OMPI_MCA_ess", "OMPI_MCA_orte_")


class InnerOptions(NamedTuple):
    """The options of a worker process that pmap starts on a node, as plain values.

    `initializer` is a pickle of the initializer and its arguments, or empty if there is none.
    `slots` is how many chunks the engine has at a time. `shipped` identifies the packages that
    travel to the node; it is empty if none do. `falls_back` says whether items run in the engine's
    own worker if no inner worker can be started; an item with a timeout never does.
    """

    start_method: str | None
    initializer: bytes
    max_tasks_per_child: int | None
    max_memory_per_child: int | None
    kill_over_memory: bool
    isolate: bool
    threads_per_worker: int | None
    slots: int
    shipped: str
    falls_back: bool


class TaskSpec(NamedTuple):
    """The description of a call, which goes to a node with a chunk of items; the node keeps it.

    Attributes:
        host, caller: the machine and the process id of the caller.
        marks: the folder where the caller marks chunks that nobody wants any more.
        watch, claim: the pickled functions `watch` and `claim` of the engine, which `Engine`
            describes; empty if the engine has none.
        inner: the options of inner workers; None: the items run in the engine's own worker.
    """

    spec: "Spec"
    environment: "Environment"
    timeout: float | None
    logs: bool
    host: str
    caller: int
    marks: str
    watch: bytes
    claim: bytes
    inner: InnerOptions | None


class Task(NamedTuple):
    """A chunk of items, as it is sent to a node.

    `data` is the pickled description of the chunk's call; None if the node has it already, or gets
    it from the engine.
    """

    chunk: bytes
    key: bytes
    data: bytes | None
    start: int
    pickled: bool
    items: "Packed"


# The kinds of a node's answer. DONE has the results of the items and the seconds that these took.
# UNKNOWN says that the node does not have the description of the call. UNSTARTED says in words, and
# with a pickled exception, why no worker process could be started. ENDED says that the chunk was
# ended, because nobody wants its results any more. REPEATED says that the task had begun before, so
# that no item of it was run again. MISSING says that the node does not have the archive of the
# packages that are shipped to it.
DONE, UNKNOWN, UNSTARTED, ENDED, REPEATED, MISSING = range(6)

# The entry of an item that was lost with its worker process: the kind `LOST`, process id, exit
# code, reason, whether the item had begun, and the stack.
Lost: TypeAlias = tuple[str, int, int | None, str, bool, str]
# The entry of an item that ran for too long: the kind `LATE`, and the item's stack.
Late: TypeAlias = tuple[str, str, None]
LOST: Final = "lost"
LATE: Final = "late"


class Answer(NamedTuple):
    """The answer of a node. `entries` has an entry for each item; some may be `Lost` or `Late`.

    `cold` is true if the task was the first one of its process, or if an inner worker had to be
    started for it. `reason` says why no inner worker could be started; the items may have run
    without one (`InnerOptions.falls_back`).
    """

    kind: int
    host: str
    elapsed: float = 0.0
    entries: "Packed | None" = None
    reason: str = ""
    cause: bytes | None = None
    cold: bool = False


def host_name() -> str:
    """Return the name of this machine."""
    return socket.gethostname()


def versions() -> bytes:
    """Return the versions of pmap and of Python, which must be the same at both ends."""
    package: Any = sys.modules[__name__.partition(".")[0]]
    ours = package.__version__
    return f"pmap {ours}, Python {sys.version_info.major}.{sys.version_info.minor}".encode()


class OtherVersionError(RuntimeError):
    """Raised on a node if the caller has another version of pmap or Python."""


def packed_task(task: Task) -> bytes:
    """Return a task as bytes, to be sent."""
    return versions() + b"\n" + pickle.dumps(tuple(task), _PROTOCOL)


def opened_task(data: bytes) -> Task:
    """Return the task that was sent as the bytes `data`.

    Raises:
        OtherVersionError: the caller has another version of pmap or Python than this process.
    """
    head, _, body = data.partition(b"\n")
    if head != versions():
        raise OtherVersionError(
            f"the caller has {head.decode(errors='replace')}, and the worker on {host_name()} has "
            f"{versions().decode()}: install the same versions on both"
        )
    return Task(*pickle.loads(body))


def packed_spec(spec: TaskSpec) -> bytes:
    """Return the description of a call as bytes, to be sent."""
    inner = None if spec.inner is None else tuple(spec.inner)
    return pickle.dumps([*spec[:-1], inner], _PROTOCOL)


def opened_spec(data: bytes) -> TaskSpec:
    """Return the description of a call that was sent as the bytes `data`."""
    parts: list[Any] = pickle.loads(data)
    spec = TaskSpec(*parts)
    return spec if spec.inner is None else spec._replace(inner=InnerOptions(*spec.inner))


def packed_answer(answer: Answer) -> bytes:
    """Return an answer as bytes, to be sent."""
    return pickle.dumps(tuple(answer), _PROTOCOL)


def opened_answer(data: bytes) -> Answer:
    """Return the answer that was sent as the bytes `data`."""
    return Answer(*pickle.loads(data))


def on_the_node(environment: "Environment", host: str, shipped: str = "") -> "Environment":
    """Return the caller's environment, with the changes that items on this node need.

    The packages in the folder `shipped`, if it is not empty, come before all others.

    Environment variables that an engine sets for its workers keep their values. If the caller is on
    another machine, the variables that say where programs and files are keep their values, too.
    """
    directory, variables, path, settings, shadows = environment
    elsewhere = host != host_name()
    own = _OF_THE_ENGINE + _OF_THE_MACHINE if elsewhere else _OF_THE_ENGINE
    merged = {name: value for name, value in variables.items() if not name.startswith(own)}
    merged |= {name: value for name, value in os.environ.items() if name.startswith(own)}
    here = [entry for entry in sys.path if entry not in path] if elsewhere else []
    first = [shipped] if shipped else []
    settings = *settings[:7], without_machine(settings[7])
    return without_rank((directory, merged, [*first, *path, *here], settings, shadows))


def without_rank(environment: "Environment") -> "Environment":
    """Return an environment without the variables by which MPI finds the job of this process."""
    directory, variables, path, settings, shadows = environment
    kept = {name: v for name, v in variables.items() if not name.startswith(_OF_THE_RANK)}
    return directory, kept, path, settings, shadows
