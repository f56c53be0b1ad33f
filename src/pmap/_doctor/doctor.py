"""The program ``python -m pmap doctor``: examines the machine, tries pmap, prints a report."""

import sys
from collections.abc import Callable
from dataclasses import replace

from .advice import advise, is_ill
from .machine import examine
from .report import report
from .trials import try_backends, try_methods


def main() -> int:
    """Print the report; return the exit code: 1 if a backend or start method does not work."""
    # A path may have characters that the encoding of stdout cannot write.
    reconfigure: Callable[..., object] | None = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
    # Read before the trials, because these use file descriptors and processes themselves.
    facts = examine()
    methods, worker = try_methods()
    facts = replace(facts, methods=methods, backends=try_backends(), worker=worker)
    print(*report(facts, advise(facts)), sep="\n", flush=True)  # noqa: T201 - it is for that
    return 1 if is_ill(facts) else 0
