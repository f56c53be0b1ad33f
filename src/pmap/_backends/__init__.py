"""The backends, which run items: in worker processes, in threads, or in the calling thread."""
