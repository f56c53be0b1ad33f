"""Shows the progress of calls; the module for that is imported only if a call asks for it."""

from .._jobs.job import Job


def watch_progress(job: Job) -> None:
    """Show the progress of a call from now on, until the call ends."""
    from .._jobs.progress import watch

    watch(job)


def watch_no_more(job: Job) -> None:
    """Stop showing the progress of a call, even if the call has not ended yet."""
    from .._jobs.progress import watch_no_more

    watch_no_more(job)
