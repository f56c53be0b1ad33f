"""A call under way, at the caller: its results so far, and who waits for the rest."""
