"""What runs inside a worker process; it imports `_transport` only."""
