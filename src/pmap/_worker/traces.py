"""Notes of what an item did to its worker process, so that the worker can undo it.

An audit hook, the streams and a hook at forks write such notes. If there is one after an item, the
worker calls `Surroundings.tidy`, which reads and clears them.
"""

from __future__ import annotations

FORKED = "forked"  # an item has forked the worker process, and this is the new process
OPENED = "opened"  # an item has opened a file for writing
WRITES = "writes"  # a file that an item has opened for writing is still open
PRINTED = "printed"  # an item has printed something

# The notes: the constants above, and names of audit events, such as "os.chdir", which say what an
# item has changed.
traces: list[str] = []
