"""What one worker process has received of the caller's functions, names and environment."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from .._transport import protocol
from .._transport.framing import frame, frame_of_entries
from .._transport.segments import A_DESCRIPTOR
from .outbox import PIECE
from .ties import NO_TIES, Ties, ties

if TYPE_CHECKING:
    from .._jobs.work import CallSpec
    from .._transport.by_value.baseline import Baseline
    from .._transport.by_value.names import Needs
    from .._transport.by_value.sent_names import Unit
    from .._transport.descriptors import Descriptor
    from .._transport.environment import Environment
    from .._transport.packing import Entry
    from .._transport.segments import Segment
    from .outbox import Outbox


class SentDefinitions:
    """Sends one worker each function and each value of a name only once, and knows what it has.

    A unit is the values of several of the caller's names, pickled together.

    Attributes:
        baseline: those of the caller's names that the worker has had since its start.
        told: how many names of a call were sent to the worker, for each call by the number of its
            call spec (which describes the function, its names and the options).
        ties: the state of `multiprocessing` at the caller, such as its authentication key, that was
            sent to the worker last.
    """

    __slots__ = ("_environment", "_outbox", "_units", "baseline", "ties", "told")

    def __init__(self, outbox: Outbox, baseline: Baseline, environment: Environment) -> None:
        """Begin with a new worker, which has `environment` and the names in `baseline`."""
        self._outbox = outbox
        # The environment (directory, variables and so on) that was sent to the worker last.
        self._environment = environment
        # The numbers of the units (values of names, pickled together) that the worker has.
        self._units: set[int] = set()
        self.baseline = baseline
        self.told: dict[int, int] = {}
        self.ties: Ties | None = NO_TIES

    def introduce(self, spec: CallSpec, environment: Environment) -> None:
        """Send the worker what it must know of a call: its function, names and environment."""
        if spec.needs.units:
            self.send_units(spec.needs)
        self.told[spec.number] = len(spec.needs.names)
        names, units = self.baseline.names_of(spec.needs), tuple(spec.needs.units)
        new = None if environment == self._environment else environment
        self._environment = environment
        about = spec.number, units, names, spec.variables, spec.rules.for_worker(), new
        make = partial(protocol.make_call_spec, *about)
        message = frame_of_entries(make, [spec.payload.entry])
        self._outbox.write(message, spec.payload.attachments)

    def send_more_names(self, spec: CallSpec) -> None:
        """Send the global names that items of a call use and that its function does not use."""
        self.send_units(spec.needs)
        names = self.baseline.names_of(spec.needs)
        self.told[spec.number] = len(spec.needs.names)
        message = protocol.make_needs(spec.number, tuple(spec.needs.units), names)
        self._outbox.write(frame(message))

    def send_units(self, needs: Needs) -> None:
        """Send the values of the names in `needs` that the worker does not have."""
        for number, unit in needs.units.items():
            if number not in self._units:
                self._units.add(number)
                self._send_unit(unit)

    def _send_unit(self, unit: Unit) -> None:
        versions = tuple(unit.versions), tuple(unit.definitions), tuple(unit.primed)
        message = frame_of_entries(
            lambda values: protocol.make_unit(unit.number, values, *versions), [unit.payload.entry]
        )
        self._outbox.write(message, unit.payload.attachments)

    def send_ties(self) -> None:
        """Send the caller's state of `multiprocessing`, such as its key, if it has changed."""
        now = ties()
        if now is not self.ties:
            self.ties = now
            attachments: list[Segment | Descriptor] = []
            tracker: list[Entry] = []
            copy = now.tracker
            if copy is not None:
                attachments, tracker = [copy], [[b"", (A_DESCRIPTOR,), 0]]
            self._outbox.write(frame(protocol.make_ties(now.key, tracker)), attachments)

    def forget_units(self, dead: set[int]) -> None:
        """Let the worker forget the values of names in the units `dead`: nothing needs them."""
        gone = self._units & dead
        if gone:
            self._units -= gone
            self._outbox.write_later(frame(protocol.make_forget(tuple(gone))))

    def drop(self, spec: CallSpec) -> None:
        """Let the worker forget the description of a call, if the worker was sent one."""
        if spec.number in self.told:
            del self.told[spec.number]
            message = frame(protocol.make_drop(spec.number))
            # The message is sent together with the next one, which saves a system call; or at once,
            # if the worker can then free much memory.
            if spec.payload.size > PIECE:
                self._outbox.write(message)
            else:
                self._outbox.write_later(message)
