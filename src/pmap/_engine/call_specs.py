"""What workers are told of functions: made once for calls that would tell the same."""

from typing import Any

from .._backends.protocol import Backend
from .._jobs.work import CallSpec, Work
from .._transport.by_value.sent_names import SentNames
from .._transport.importable import code_version
from .._transport.payload import Payload


class CallSpecs:
    """The call specs of the calls that are under way, and the last one."""

    def __init__(self, backend: Backend[Any]) -> None:
        """Begin with none; `backend` is told which its workers need no more."""
        self._backend = backend
        self._last: CallSpec | None = None  # which the next call may share
        self._large: Payload | None = None  # the last that was large
        self._code: int | None = None  # the version of the caller's modules at its last call

    def pack(self, work: Work, sent_names: SentNames) -> CallSpec:
        """Make the function of a call ready to travel; raises what its pickling raises."""
        spec = work.pack(self._last, self._large, sent_names)
        if spec.payload.segment is not None:
            self._large = spec.payload
        return spec

    def notice_new_code(self) -> bool:
        """Return whether a module was loaded again since the last call."""
        version = code_version()
        if version == self._code:
            return False
        before, self._code = self._code, version
        return before is not None

    def use(self, work: Work) -> None:
        """Note that a call uses its call spec, which the next one may share."""
        spec = work.spec
        if spec is not None:
            spec.calls += 1
            if spec.named and spec is not self._last:
                last, self._last = self._last, spec
                if last is not None and not last.calls:
                    self._backend.drop(last)

    def release(self, work: Work) -> None:
        """Note that a call is over, and does not use its call spec any more."""
        spec = work.spec
        if spec is not None:
            spec.calls -= 1
            if not spec.calls and spec is not self._last:
                self._backend.drop(spec)

    def share_no_more(self) -> None:
        """Let the next call make its own: what the last one says by name may be gone."""
        last, self._last = self._last, None
        if last is not None and not last.calls:
            self._backend.drop(last)

    def forget(self) -> None:
        """Keep none for the next call: there are no workers that know them."""
        self._last = self._large = None
