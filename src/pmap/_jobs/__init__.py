"""A call under way, at the caller: its results so far, and the threads that wait for it."""
