"""What a function sees around it: directory, environment, import path, settings, variables.

Taken at the caller when a call is made, put in place in the worker before the function runs there,
so that the function means the same thing in both.
"""

from __future__ import annotations

import os
import sys

from .import_path import import_path
from .light_stdlib import Context, ContextVar
from .settings import take_settings
from .shadows import apply_shadows, find_shadows

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    from .settings import Settings
    from .shadows import Shadows

    # (current directory or None where it was deleted, environment, sys.path, settings, what on the
    # path has the name of a module of the standard library): plain
    Environment: TypeAlias = tuple[str | None, dict[str, str], list[str], Settings, Shadows]
    # (environment variables that are set where they are not; those that are set in any case)
    Limits: TypeAlias = tuple[dict[str, str], dict[str, str]]
    Variables: TypeAlias = list[tuple[ContextVar[object], object]]

# What tells libraries how many threads to use: OpenMP, BLAS in its kinds, what compiles.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)

_FEW = 1 << 12  # bytes of pickled context variables: some ten microseconds

# Environment and path as they were, and what was made of them.
_last: tuple[object, list[str], Environment] | None = None


def capture_environment() -> Environment:
    """Return the surroundings of this process as they are now; the same object while they stay."""
    global _last
    try:
        directory = os.getcwd()
    except OSError:
        directory = None
    settings = take_settings()
    # Decoding the environment takes longer than all the rest of a small call, and it hardly ever
    # changes; the encoded form behind it is one flat dict.
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
    """Return the variables that let libraries use `count` threads.

    Or `usual`, where it is None and the user has set nothing.
    """
    if count is None:
        return dict.fromkeys(THREAD_VARIABLES, str(usual)), {}
    return {}, dict.fromkeys(THREAD_VARIABLES, str(count))


def limited(environment: Environment, limits: Limits) -> Environment:
    """Return `environment` with an environment that has `limits`."""
    directory, variables, path, settings, shadows = environment
    usual, forced = limits
    return directory, {**usual, **variables, **forced}, path, settings, shadows


def apply_environment(environment: Environment) -> None:
    """Make the surroundings of this process those of `environment`, but for the settings."""
    directory, variables, path, _, shadows = environment
    if directory is not None:
        try:
            os.chdir(directory)
        except OSError:
            pass  # it may be gone by now: the function finds out if it needs it
    if os.environ.copy() != variables:
        for name in os.environ.keys() - variables.keys():
            del os.environ[name]
        os.environ.update(variables)
    if path != sys.path or shadows:
        apply_shadows(shadows, path)
        sys.path[:] = path


def are_few(variables: list[bytes]) -> bool:
    """Return whether variables take so little that a worker may load them again and again."""
    return sum(map(len, variables)) <= _FEW


def context_of(variables: Variables) -> Context:
    """Return a context in which `variables` are set and no others."""
    context = Context()
    for variable, value in variables:
        context.run(variable.set, value)
    return context
