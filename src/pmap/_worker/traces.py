"""What items did and was not seen to yet: looked at after each item, by `Surroundings.tidy`."""

from __future__ import annotations

FORKED = "forked"  # this is a fork of the worker, which an item made
OPENED = "opened"  # an item has opened a file for writing
WRITES = "writes"  # such a file is still open
PRINTED = "printed"  # an item has printed something

# The above, and names of the audit events that tell of what an item changed.
traces: list[str] = []
