"""The code that runs inside a worker process; this package imports `_transport` only."""
