"""The program ``python -m pmap doctor``: examines the machine, tries pmap, prints a report."""

import sys
from collections.abc import Callable
from dataclasses import replace

from .advice import advise, is_ill
from .machine import examine
from .report import report
from .trials import try_backends, try_methods


def main() -> int:
    """Print the report; return the exit code, which is 1 if a backend or start method fails."""
    # A path may contain characters that the encoding of stdout does not have.
    reconfigure: Callable[..., object] | None = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
    # The state of the machine is read before workers are started as a trial. These workers use
    # file descriptors and processes, and would change, for example, how many are left.
    facts = examine()
    methods, worker = try_methods()
    facts = replace(facts, methods=methods, backends=try_backends(), worker=worker)
    print(*report(facts, advise(facts)), sep="\n", flush=True)  # noqa: T201 - it is for that
    return 1 if is_ill(facts) else 0
