"""The facts that the doctor knows about a machine: plain values, so tests can invent a machine."""

from dataclasses import dataclass, field
from typing import Final, get_args

from .._types import StartMethod

# The names of the start methods of all systems.
METHODS: Final[tuple[str, ...]] = get_args(StartMethod)


@dataclass(frozen=True)
class Worker:
    """Facts that a worker process returned about itself. None: unknown, or not set."""

    pid: int
    memory: int | None = None  # bytes of memory that the worker takes (resident memory)
    # The value of the environment variable OMP_NUM_THREADS in the worker.
    threads: str | None = None


@dataclass(frozen=True)
class Trial:
    """The outcome of two calls on one backend or with one start method."""

    name: str  # the name of the backend or start method
    error: str = ""  # the exception of a call, in one line; empty: both calls worked
    first: float = 0.0  # seconds that the first call took, with the start of the workers
    again: float = 0.0  # seconds that the second call took
    warnings: tuple[str, ...] = ()  # the texts of the warnings that the calls gave

    @property
    def works(self) -> bool:
        """Whether both calls have worked."""
        return not self.error


@dataclass(frozen=True)
class Limit:
    """A limit of this process, and how much of it is used. None: no such limit, or unknown."""

    soft: int | None = None
    hard: int | None = None
    used: int | None = None


@dataclass(frozen=True)
class Room:
    """Bytes of memory or of a file system. None: unknown, or no limit."""

    total: int | None = None
    free: int | None = None


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All facts about a machine. None means unknown, as much is if there is no ``/proc``."""

    # --- facts about versions of programs ---
    pmap: str = ""
    place: str = ""
    # The version of another project's package called pmap, if that is installed.
    namesake: str | None = None
    python: str = ""
    executable: str = ""
    has_gil: bool = True
    system: str = "linux"  # the value of sys.platform
    platform: str = ""
    container: str | None = None  # the file or variable that shows that this is a container
    packages: tuple[tuple[str, str], ...] = ()  # names and versions of installed packages
    # --- facts about CPUs ---
    cpus: int = 1  # how many CPUs pmap uses
    cpus_of_machine: int | None = None
    affinity: int | None = None  # how many CPUs the affinity allows
    quota: float | None = None  # how many CPUs the cgroup allows
    load: float | None = None  # the average number of processes that ran, over the last minute
    # --- facts about memory ---
    memory: Room = field(default_factory=Room)
    group_memory: Room = field(default_factory=Room)  # memory that the cgroup allows
    shm: Room | None = None  # size of /dev/shm; None: there is no /dev/shm that can be written
    memfd: bool = True  # whether the system call memfd_create, which makes shared memory, works
    # --- facts about limits of this process and user ---
    open_files: Limit = field(default_factory=Limit)
    tasks: Limit = field(default_factory=Limit)  # processes and threads of this user
    is_root: bool = False  # whether the user is root, for whom the limit of processes does not hold
    group_tasks: Limit = field(default_factory=Limit)  # processes and threads of the cgroup
    address_space: Limit = field(default_factory=Limit)
    file_size: Limit = field(default_factory=Limit)
    # --- facts about the surroundings of this process ---
    proc: bool = True  # whether /proc can be read
    temp: str | None = None  # None: no directory for temporary files can be written
    temp_noexec: bool = False
    encoding: str = "utf-8"  # the encoding with which text files are opened if none is given
    closed: tuple[str, ...] = ()  # the standard streams that the program was started without
    # Names and values of the variables that limit threads and are set.
    thread_variables: tuple[tuple[str, str], ...] = ()
    blas: str | None = None  # name and version of the library with which NumPy multiplies
    backend_variable: str | None = None  # PMAP_BACKEND, the backend of calls that set none
    # --- what calls have shown that were made for trial ---
    default_method: str = "forkserver"
    methods: tuple[Trial, ...] = ()  # the outcome of trying each start method that this system has
    backends: tuple[Trial, ...] = ()
    # Facts about a worker of the default start method, or of another that works.
    worker: Worker | None = None

    @property
    def is_linux(self) -> bool:
        """Whether this is Linux, the platform on which pmap is tested."""
        return self.system == "linux"

    @property
    def room(self) -> int | None:
        """How many bytes of memory may still be used: free on the machine and in the cgroup."""
        known = [free for free in (self.memory.free, self.group_memory.free) if free is not None]
        return min(known, default=None)
