"""The call specs of a pool; calls of the same function with the same options share one.

A call spec is all that a worker is told of a call before its first chunk of items: the pickled
function, the names that it uses, and the options.
"""

from typing import Any

from .._backends.protocol import Backend
from .._jobs.work import CallSpec, Work
from .._transport.by_value.sent_names import SentNames
from .._transport.importable import code_version
from .._transport.payload import Payload


class CallSpecs:
    """The call specs of one pool: what its workers are told of each call before the first chunk."""

    def __init__(self, backend: Backend[Any]) -> None:
        """Begin without call specs.

        `backend` is told when no call uses a call spec any more, so that its workers forget it.
        """
        self._backend = backend
        self._last: CallSpec | None = None  # the last call spec, which the next call may share
        # The last pickled function that is so large that it is in shared memory. A later call of
        # this function may use the same memory.
        self._large: Payload | None = None
        # A number that changes when the program loads a module again, as `notice_new_code` found it
        # last.
        self._code: int | None = None

    def pack(self, work: Work, sent_names: SentNames) -> CallSpec:
        """Pickle the function of a call, and return the call spec.

        An exception of the pickling is passed on.
        """
        spec = work.pack(self._last, self._large, sent_names)
        if spec.payload.segment is not None:
            self._large = spec.payload
        return spec

    def notice_new_code(self) -> bool:
        """Return whether the program has loaded a module again since this was last called."""
        version = code_version()
        if version == self._code:
            return False
        before, self._code = self._code, version
        return before is not None

    def use(self, work: Work, calls: int = 1) -> None:
        """Record that a call in progress uses its call spec; the next call may share it.

        `calls`: how many calls begin to use the call spec now.
        """
        spec = work.spec
        if spec is not None:
            spec.calls += calls
            if spec.named and spec is not self._last:
                last, self._last = self._last, spec
                if last is not None and not last.calls:
                    self._backend.drop(last)

    def is_last(self, spec: CallSpec | None) -> bool:
        """Return whether the last call has this call spec; the next call may use it as well."""
        return spec is self._last

    def release(self, work: Work) -> None:
        """Record that a call is over; a call spec that no call uses any more may be forgotten."""
        spec = work.spec
        if spec is not None:
            spec.calls -= 1
            if not spec.calls and spec is not self._last:
                self._backend.drop(spec)

    def share_no_more(self) -> None:
        """Do not let the next call share the last call spec, even if the function is the same.

        The call spec may refer by name to objects that new workers have not received.
        """
        last, self._last = self._last, None
        if last is not None and not last.calls:
            self._backend.drop(last)

    def forget(self) -> None:
        """Forget all call specs, because no worker that has received one is left."""
        self._last = self._large = None
