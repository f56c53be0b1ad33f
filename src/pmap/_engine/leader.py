"""Which thread is the leader, the one thread that runs the engine's loop."""


class Leader(dict[int, int]):
    """The thread that runs the engine's loop: {0: number of the thread}, or {} if none does.

    Only one thread at a time, the leader, may run the loop. The class is a dict and not a lock:
    `setdefault` makes a thread the leader and records its number in one step, so the exception of a
    signal cannot come between.
    """

    def claim(self, thread: int) -> bool:
        """Make a thread the leader if no other thread is; return whether it is the leader now."""
        return self.setdefault(0, thread) == thread

    def is_thread(self, thread: int) -> bool:
        """Return whether the thread with this number is the leader."""
        return self.get(0) == thread

    def release(self, thread: int) -> None:
        """Let a thread be the leader no more."""
        if self.get(0) == thread:
            # With the default `None`, `pop` raises no error even if no thread is the leader.
            self.pop(0, None)
