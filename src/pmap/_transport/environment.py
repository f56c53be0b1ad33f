"""The environment in which items run: directory, environment variables, import path and so on.

Items run in the caller's environment. The caller captures its environment when a call is made. The
worker applies the captured environment before the function runs in the worker, so the function
means the same thing in both processes.
"""

from __future__ import annotations

import os
import sys

from . import process_role
from .import_path import import_path
from .light_stdlib import copy_context
from .settings import take_settings
from .shadows import apply_shadows, find_shadows

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    from .light_stdlib import Context, ContextVar
    from .settings import Settings
    from .shadows import Shadows

    # The environment that travels from the caller to a worker: the current directory (None if the
    # directory was deleted), environment variables, sys.path, settings of the interpreter, and the
    # names of the user's modules that hide modules of the standard library. All parts are plain
    # values.
    Environment: TypeAlias = tuple[str | None, dict[str, str], list[str], Settings, Shadows]
    # Environment variables in two dicts: those to set unless the user has set them, and those to
    # set even then.
    Limits: TypeAlias = tuple[dict[str, str], dict[str, str]]
    Variables: TypeAlias = list[tuple[ContextVar[object], object]]

# Environment variables from which libraries learn how many threads to use: OpenMP, several kinds of
# BLAS, and compilers such as Numba.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)

# At most this many bytes of pickled context variables are few: loading them takes some ten
# microseconds.
_FEW = 1 << 12

# What `capture_environment` saw at its last call (the encoded environment variables and the import
# path), and what it returned.
_last: tuple[object, list[str], Environment] | None = None


def current_directory() -> str | None:
    """Return the current directory; None if the directory was deleted."""
    try:
        return os.getcwd()
    except OSError:
        return None


def capture_environment(directory: str | None) -> Environment:
    """Return the environment of this process; the same object as long as nothing in it changes.

    `directory` is the current directory, which the module `_jobs.directory` reads quickly.
    """
    global _last
    settings = take_settings()
    # Decoding all environment variables takes longer than all the rest of a small call, and the
    # variables hardly ever change. `os.environ` keeps the variables encoded in one flat dict, which
    # is quick to compare.
    raw: Any = getattr(os.environ, "_data", None)
    if _last is not None:
        variables, before, environment = _last
        same = environment[0] == directory and before == sys.path and environment[3] == settings
        if same and variables == raw:
            return environment
    path = import_path()
    known = _last is not None and _last[1] == sys.path and _last[2][0] == directory
    shadows = _last[2][4] if _last is not None and known else find_shadows(path)
    environment = directory, os.environ.copy(), path, settings, shadows
    _last = None if raw is None else (dict(raw), sys.path[:], environment)
    return environment


def thread_limits(count: int | None, usual: int) -> Limits:
    """Return the environment variables that make libraries use `count` threads.

    If `count` is None, libraries use `usual` threads, except where the user has set the variable.
    """
    if count is None:
        return dict.fromkeys(THREAD_VARIABLES, str(usual)), {}
    return {}, dict.fromkeys(THREAD_VARIABLES, str(count))


def limited(environment: Environment, limits: Limits) -> Environment:
    """Return `environment` with the environment variables of `limits` added."""
    directory, variables, path, settings, shadows = environment
    usual, forced = limits
    return directory, {**usual, **variables, **forced}, path, settings, shadows


def apply_environment(environment: Environment) -> None:
    """Apply the directory, variables and import path of `environment`; leave its settings out.

    A worker that shares the caller's process leaves the directory alone.
    """
    directory, variables, path, _, shadows = environment
    if directory is not None and not process_role.shares_process:
        try:
            os.chdir(directory)
        except OSError:
            # The caller's directory may be gone by now. A missing directory is no error at this
            # place: a function that needs the directory raises an error of its own.
            pass
    if os.environ.copy() != variables:
        for name in os.environ.keys() - variables.keys():
            del os.environ[name]
        os.environ.update(variables)
    if path != sys.path or shadows:
        apply_shadows(shadows, path)
        sys.path[:] = path


def are_few(variables: list[bytes]) -> bool:
    """Return whether pickled context variables are small enough to be loaded for each chunk."""
    return sum(map(len, variables)) <= _FEW


def context_of(variables: Variables) -> Context:
    """Return a copy of the present context in which the caller's context variables are set.

    A context variable that the caller has not set keeps the value that an initializer has given it.
    """
    context = copy_context()
    for variable, value in [*context.items()]:
        if variable.name == "decimal_context":
            # A decimal context can be changed, and a copy of a context has the same one.
            context.run(variable.set, value.copy())
    for variable, value in variables:
        context.run(variable.set, value)
    return context
