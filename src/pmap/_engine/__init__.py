"""The engine: the loop that carries events and commands between the scheduler and a backend."""
