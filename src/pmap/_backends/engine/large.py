"""How large data get to nodes: with a chunk, or once, by the engine's own way to share data.

A node is where an engine runs a task. It keeps large data, so most chunks need not bring them. A
node that does not have them says so, and the chunk is sent again with them.
"""

from typing import Final, NamedTuple

from ..._types import AppliesAsync, Engine

# Data of more bytes than this do not go with each chunk, but only with a chunk whose node may not
# have them.
_LARGE: Final = 1 << 15
# Data of more bytes than this go by the method `share` of an engine that has it.
_SHARED: Final = 1 << 16


class Carried(NamedTuple):
    """What a chunk brings of some data: the data, or the engine's handle for them, or nothing.

    A handle is given to ``submit`` as an argument, and the engine replaces it by the data.
    """

    data: bytes | None = None
    handle: object = None


class LargeData:
    """The engine's handles of large data that it shares with nodes, while calls are in progress."""

    def __init__(self) -> None:
        self._handles: dict[bytes, object] = {}

    def carried(
        self,
        engine: Engine | AppliesAsync,
        known: set[bytes],
        key: bytes,
        data: bytes,
        again: bool,
    ) -> Carried:
        """Return what a chunk brings of `data`.

        Args:
            engine: the engine that gets the chunk.
            known: the keys of large data that the chunk's slot has sent before.
            key: what identifies the data.
            data: the data.
            again: whether a node has said that it lacks data of this chunk.
        """
        if len(data) > _LARGE:
            if again:
                # The engine may give the chunk to another node this time. So the next chunk brings
                # the data, too: it may come to the node that lacked them.
                known.discard(key)
            elif key in known:
                return Carried()
            else:
                known.add(key)
        share: object = getattr(engine, "share", None)
        if len(data) <= _SHARED or not callable(share):
            return Carried(data=data)
        if key not in self._handles:
            self._handles[key] = share(data)
        return Carried(handle=self._handles[key])

    def forget(self, key: bytes) -> None:
        """Drop the handle of data that no chunk needs any more."""
        self._handles.pop(key, None)

    def forget_all(self) -> None:
        """Drop all handles. What is needed again is shared anew."""
        self._handles.clear()
