"""What the doctor knows of a machine: plain values, so that a test can make any machine up."""

from dataclasses import dataclass, field
from typing import Final, get_args

from .._types import StartMethod

METHODS: Final[tuple[str, ...]] = get_args(StartMethod)  # of all systems


@dataclass(frozen=True)
class Worker:
    """What a worker process said of itself."""

    pid: int
    memory: int | None = None  # bytes that are resident in it
    threads: str | None = None  # its OMP_NUM_THREADS


@dataclass(frozen=True)
class Trial:
    """One call, on one backend or by one start method."""

    name: str
    error: str = ""  # what it raised, in one line; empty: it worked
    first: float = 0.0  # seconds until the first result was there, with the start of the workers
    again: float = 0.0  # seconds that a second call took
    warnings: tuple[str, ...] = ()

    @property
    def works(self) -> bool:
        """Whether a result came, and the right one."""
        return not self.error


@dataclass(frozen=True)
class Limit:
    """A limit of this process, with what is used of it. None: there is none, or it is unknown."""

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
    """All that is known. None is unknown: a machine without ``/proc`` leaves much of it so."""

    # Versions
    pmap: str = ""
    place: str = ""
    namesake: str | None = None  # the version of the other distribution that is called pmap
    python: str = ""
    executable: str = ""
    has_gil: bool = True
    system: str = "linux"  # sys.platform
    platform: str = ""
    container: str | None = None  # what says that this is one
    packages: tuple[tuple[str, str], ...] = ()  # name and version of what is installed
    # CPUs
    cpus: int = 1  # that pmap uses
    cpus_of_machine: int | None = None
    affinity: int | None = None
    quota: float | None = None  # of the cgroup, in CPUs
    load: float | None = None  # processes that were running, over the last minute
    # Memory
    memory: Room = field(default_factory=Room)
    group_memory: Room = field(default_factory=Room)  # of the cgroup
    shm: Room | None = None  # of /dev/shm; None: there is none that can be written
    memfd: bool = True  # whether there is memory that has a descriptor
    # Limits
    open_files: Limit = field(default_factory=Limit)
    tasks: Limit = field(default_factory=Limit)  # processes and threads of this user
    is_root: bool = False  # whom the limit of processes does not bind
    group_tasks: Limit = field(default_factory=Limit)  # of the cgroup
    address_space: Limit = field(default_factory=Limit)
    file_size: Limit = field(default_factory=Limit)
    # Surroundings
    proc: bool = True  # whether /proc can be read
    temp: str | None = None  # None: no directory for temporary files can be written
    temp_noexec: bool = False
    encoding: str = "utf-8"  # of text files where none is given
    closed: tuple[str, ...] = ()  # standard streams
    thread_variables: tuple[tuple[str, str], ...] = ()  # those that are set
    blas: str | None = None
    backend_variable: str | None = None  # PMAP_BACKEND, the backend of verbs that set none
    # What was tried
    default_method: str = "forkserver"
    methods: tuple[Trial, ...] = ()  # those that this system has
    backends: tuple[Trial, ...] = ()
    worker: Worker | None = None

    @property
    def is_linux(self) -> bool:
        """Whether this is Linux, the platform that is tested."""
        return self.system == "linux"

    @property
    def room(self) -> int | None:
        """Bytes of memory that are free, on the machine and in the cgroup."""
        known = [free for free in (self.memory.free, self.group_memory.free) if free is not None]
        return min(known, default=None)
