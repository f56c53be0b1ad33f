"""The kinds of messages between caller, worker and template, and the words behind each kind.

A message is a tuple of plain values whose first word says what it is (see `framing`). Only requests
to the template are bytes of one struct: its socket carries little, and a worker's socket with it.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from typing import TypeAlias

    # How a stream of the caller is: encoding, how it treats errors, whether each line is to be seen
    # at once, whether a terminal sees it.
    Stream: TypeAlias = tuple[str, str, bool, bool]

# --- from the caller to a worker -----------------------------------------------------------------

# how many pools it is below, who it is (see `_worker.identity`), environment, argv, numbers of
# namespaces that a fork has of its caller, the script to import or None (number of its namespace,
# path or None in a fork, package or None), units and names as in CALL_SPEC for the initializer, the
# entry of it and its arguments in a list (empty: there is none, or a fork has it), bytes of
# memory it may take or None, whether it is to be ended when it takes more, whether it may stay
# awake while it waits, bytes of segments that it may keep to use them again, how stdout and
# stderr are (see `Stream`). Only units and TIES come before it.
SETUP = 0
# number, the entry of (function, kind) in a list, numbers of the units it needs, names with their
# versions (see `by_value.arriving`), pickled context variables with values, stop at failure,
# functions by value, all items of a chunk at once, seconds that an item may run or None, seed or
# None, whether its logs come home, environment (None: that of the call spec before)
CALL_SPEC = 1
CHUNK = 2  # call spec, serial, entries (packed), items per step, index of the first
DROP = 3  # call spec: no chunk of it comes any more
QUIT = 4
DISCARD = 5  # serials of chunks that are not to begin
BACK = 6  # numbers of segments of results that nothing refers to any more; None: keep none
# number, its entry in a list, versions of the values in it, of definitions, of those it refers to
UNIT = 7
NEEDS = 8  # call spec, numbers of units, names: what its next chunk needs besides
FORGET = 9  # numbers of units to which nothing refers any more
# For `multiprocessing` in the worker: key of the caller or None, entry of its resource tracker's
# descriptor in a list, which is empty where there is none
TIES = 15

# --- from a worker to the caller -----------------------------------------------------------------

READY = 10  # process id
BROKEN = 11  # failure record of the initializer
BEGUN = 12  # serial; only where there is no journal
# serial, entries (or a typed array), last, elapsed, whether the worker is to be replaced,
# numbers of segments that it has no use for any more
RESULTS = 13
# OUTPUT, ERRORS, LOG, WARNING or FLUSH; which item of the chunk that runs, or None; bytes
REPORT = 14
# What was printed to either stream; a pickled record of logging; a pickled warning; that an item
# has flushed a stream, OUTPUT or ERRORS as one byte.
OUTPUT, ERRORS, LOG, WARNING, FLUSH = 1, 2, 3, 4, 5

# --- from a process that is to become a worker, or the template ----------------------------------

HELLO = 16  # (HELLO, 0, 0): it is a Python, and at our entry
AGAIN = 17  # (AGAIN, 0, 0): it runs the program again, and not what it was started for

# --- between the caller and the template ---------------------------------------------------------

# What, and of which worker (FORK: its number; else its pid). With IMPORT comes a file that says, as
# marshal writes it, how many pools it is below, who imports the script (see `_worker.identity`),
# environment, argv, (file of the script, its package or None), how stdout and stderr are, the
# configuration of coverage or None.
REQUEST = struct.Struct("<Bq")
FORK, KILL, ABORT, PREPARE, TERMINATE, IMPORT = 0, 1, 2, 3, 4, 5
# Reports: (FORKED, number, pid), (FAILED, number, errno), (EXITED, pid, exit code)
# (CROWDED, how many, 0): it has so many threads and does not fork: it starts workers anew
# And REPORT, of what the script did when it was imported.
FORKED, FAILED, EXITED, CROWDED = 20, 21, 22, 23
