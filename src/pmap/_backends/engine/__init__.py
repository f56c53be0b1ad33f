"""The backend that runs items on an engine: an executor, cluster or the like of the program."""
