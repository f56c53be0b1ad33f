"""What runs items: worker processes, threads, or the caller itself."""
