"""The facts that the doctor knows about a machine: plain values, so that tests can make some up."""

from dataclasses import dataclass, field
from typing import Final, get_args

from .._types import StartMethod

# The start methods of all systems.
METHODS: Final[tuple[str, ...]] = get_args(StartMethod)


@dataclass(frozen=True)
class Worker:
    """Facts that a worker process has returned about itself; None means unknown or not set."""

    pid: int
    memory: int | None = None  # bytes of memory that the worker takes (resident memory)
    # The value of the environment variable OMP_NUM_THREADS in the worker.
    threads: str | None = None


@dataclass(frozen=True)
class Trial:
    """The outcome of two calls on one backend or with one start method."""

    name: str  # the name of the backend or start method
    error: str = ""  # the exception of a call, in one line; empty if both calls worked
    first: float = 0.0  # seconds of the first call, with the start of the workers
    again: float = 0.0  # seconds of the second call
    warnings: tuple[str, ...] = ()  # the texts of the warnings that the calls gave

    @property
    def works(self) -> bool:
        """Whether both calls have worked."""
        return not self.error


@dataclass(frozen=True)
class Limit:
    """A limit of this process, and how much of it is used; None means no limit, or unknown."""

    soft: int | None = None
    hard: int | None = None
    used: int | None = None


@dataclass(frozen=True)
class Room:
    """Bytes of memory or of a file system; None means unknown, or no limit."""

    total: int | None = None
    free: int | None = None


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All facts about a machine; None means unknown. Without ``/proc`` much is unknown."""

    # --- facts about versions of programs ---
    pmap: str = ""
    place: str = ""
    # The version of another project's package with the name pmap, if that is installed.
    namesake: str | None = None
    python: str = ""
    executable: str = ""
    has_gil: bool = True
    system: str = "linux"  # the value of `sys.platform`
    platform: str = ""
    container: str | None = None  # the file or variable that shows that this is a container
    packages: tuple[tuple[str, str], ...] = ()  # names and versions of installed packages
    # --- facts about CPUs ---
    cpus: int = 1  # how many CPUs pmap uses
    cpus_of_machine: int | None = None
    affinity: int | None = None  # how many CPUs the affinity allows
    quota: float | None = None  # how many CPUs the cgroup allows
    load: float | None = None  # how many processes were running on average in the last minute
    # --- facts about memory ---
    memory: Room = field(default_factory=Room)
    group_memory: Room = field(default_factory=Room)  # the memory that the cgroup allows
    shm: Room | None = None  # the size of /dev/shm; None if there is none that can be written
    memfd: bool = True  # whether shared memory can be made by the system call memfd_create
    # --- facts about limits of this process and user ---
    open_files: Limit = field(default_factory=Limit)
    tasks: Limit = field(default_factory=Limit)  # the limit of processes and threads of this user
    is_root: bool = False  # whether the user is root, who has no limit of processes
    group_tasks: Limit = field(default_factory=Limit)  # limit of processes and threads of a cgroup
    address_space: Limit = field(default_factory=Limit)
    file_size: Limit = field(default_factory=Limit)
    # --- facts about the surroundings of this process ---
    proc: bool = True  # whether /proc can be read
    temp: str | None = None  # the directory for temporary files; None if none can be written
    temp_noexec: bool = False
    encoding: str = "utf-8"  # the encoding that Python uses for text files if none is given
    closed: tuple[str, ...] = ()  # the standard streams that the program does not have
    # Names and values of the variables that are set and limit threads of libraries.
    thread_variables: tuple[tuple[str, str], ...] = ()
    blas: str | None = None  # name and version of the library that NumPy multiplies with
    backend_variable: str | None = None  # PMAP_BACKEND: the backend of calls that set no backend
    # --- what trial calls have shown ---
    default_method: str = "forkserver"
    methods: tuple[Trial, ...] = ()  # the outcome of trying each start method of this system
    backends: tuple[Trial, ...] = ()
    # Facts about a worker of the default start method; or of another, if the default does not work.
    worker: Worker | None = None

    @property
    def is_linux(self) -> bool:
        """Whether this is Linux, the system on which pmap is tested."""
        return self.system == "linux"

    @property
    def room(self) -> int | None:
        """How many bytes of memory can still be used, on the machine and in the cgroup."""
        known = [free for free in (self.memory.free, self.group_memory.free) if free is not None]
        return min(known, default=None)
