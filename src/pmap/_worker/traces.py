"""Notes of what an item did in its worker process; `Surroundings.tidy` reads and clears the notes.

An audit hook, the streams and a hook at forks write the notes. After each item the worker calls
`tidy` if there is a note.
"""

from __future__ import annotations

FORKED = "forked"  # an item has forked the worker, and this process is the fork
OPENED = "opened"  # an item has opened a file for writing
WRITES = "writes"  # a file that an item has opened for writing is still open
PRINTED = "printed"  # an item has printed something

# The notes: the constants above, and the names of audit events, such as "os.chdir", that tell what
# an item changed.
traces: list[str] = []
