"""What each worker of a pool is told first: initializer, limits, environment, script."""

from __future__ import annotations

import marshal
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from .._calls.describe import name_of
from .._jobs.reports import streams_of_caller
from .._transport import process_role, protocol
from .._transport.by_value.names import Needs, UnsentNameError
from .._transport.environment import limited
from .._transport.exceptions import describe
from .._transport.framing import frame_of_entries
from .._transport.payload import Payload, payload_of
from .ties import identity_of

if TYPE_CHECKING:
    from .._multiprocessing_errors import NotPicklableError
    from .._transport.by_value.sent_names import SentNames
    from .._transport.environment import Environment, Limits
    from .._transport.protocol import Script
    from .connection import Connection
    from .main_module import Script as ScriptFile
    from .process_starter import Initializer


class WorkerSetup:
    """What each worker of a pool is told first."""

    def __init__(
        self,
        initializer: Callable[..., object] | None,
        initargs: tuple[object, ...],
        max_memory: int | None,
        kill_over_memory: bool,
        limits: Limits,
        may_spin: bool,
        room: int,
    ) -> None:
        """Keep what is the same for all workers.

        Args:
            initializer: what each worker calls first; None: nothing.
            initargs: its arguments.
            max_memory: bytes that a worker may take; None: any.
            kill_over_memory: whether a worker that takes more is killed at once.
            limits: environment variables of workers.
            may_spin: whether a worker may spin for a moment while it waits.
            room: bytes of segments that a worker may keep to use them again.
        """
        self._initializer = initializer
        self._initargs = initargs
        self._max_memory = max_memory
        self._kill_over_memory = kill_over_memory
        self._limits = limits
        self._may_spin = may_spin
        self._room = room
        self.script: ScriptFile | None = None  # which workers are to import
        # The environment that was captured last, and what workers are told of it.
        self._last: tuple[Environment, Environment] | None = None

    def packed_initializer(self, method: str, names: SentNames) -> tuple[Needs, Payload] | None:
        """Return the initializer with its arguments as bytes; raises what their pickling raises.

        None: there is none, or it cannot be pickled and workers are forks: see `for_fork`.
        """
        if self._initializer is None:
            return None
        needs = Needs(names)
        try:
            payload = payload_of((self._initializer, self._initargs), None, needs)
        except Exception:
            if method == "fork":
                return None
            raise
        needs.check()
        return needs, payload

    def for_fork(self, packed: tuple[Needs, Payload] | None) -> Initializer | None:
        """Return the initializer with its arguments, for a fork that is not sent it."""
        if self._initializer is None or packed is not None:
            return None
        return self._initializer, self._initargs

    def refusal(self, why: BaseException) -> NotPicklableError:
        """Return the error for an initializer whose pickling raised `why`."""
        from .._multiprocessing_errors import NotPicklableError
        from .._transport.by_value.blame import where_it_fails

        assert self._initializer is not None
        name = name_of(self._initializer)
        where = where_it_fails(self._initializer, name, why)
        where = where or where_it_fails(self._initargs, "initargs", why)
        return NotPicklableError(
            "initializer",
            "caller",
            f"it or its arguments could not be pickled: {describe(why)}{where}",
            function=name,
            index=None,
            input="",
        )

    def limited(self, environment: Environment) -> Environment:
        """Return an environment with the limits of a worker; the same object while it is same."""
        if self._last is None or self._last[0] is not environment:
            self._last = environment, limited(environment, self._limits)
        return self._last[1]

    def send(
        self,
        connection: Connection,
        method: str,
        environment: Environment,
        packed: tuple[Needs, Payload] | None,
    ) -> None:
        """Send a new worker what it is told first; `packed`: its initializer, if it is sent one."""
        baseline = connection.definitions.baseline
        needs, payload = (None, None) if packed is None else packed
        if needs is not None:
            connection.definitions.send_units(needs)
        script: Script | None = None
        if self.script is not None:
            path, package = (None, None) if method == "fork" else self.script[:2]
            script = baseline.numbers()[0], path, package
        connection.definitions.send_ties()
        setup = protocol.SetUp(
            generation=process_role.generation + 1,
            identity=identity_of(connection.slot, method),
            environment=environment,
            argv=list(sys.argv),
            inherited=baseline.numbers() if method == "fork" else (),
            script=script,
            units=() if needs is None else tuple(needs.units),
            names=() if needs is None else baseline.names_of(needs),
            initializer=[] if payload is None else [payload.entry],
            max_memory=self._max_memory,
            kill_over_memory=self._kill_over_memory,
            may_spin=self._may_spin,
            room=self._room,
            streams=streams_of_caller(),
            coverage_config=_coverage_config(),
        )
        message = frame_of_entries(
            lambda initializer: protocol.make_setup(setup, initializer), setup.initializer
        )
        connection.outbox.write(message, [] if payload is None else payload.attachments)

    def about_import(self, method: str, environment: Environment, script: ScriptFile) -> bytes:
        """Return what a template is told that imports the script: see `protocol.IMPORT`."""
        about = process_role.generation + 1, identity_of(1, method), environment
        how = streams_of_caller(), _coverage_config()
        return marshal.dumps((*about, list(sys.argv), script[:2], *how))

    def too_much_memory(self) -> str:
        """Return in words that a worker took too much memory."""
        return f"it took more than {self._max_memory} bytes of memory"


def why_unsent(error: BaseException) -> BaseException:
    """Return why something could not be pickled."""
    return error.why if isinstance(error, UnsentNameError) else error


def _coverage_config() -> str | None:
    """Return the file by which coverage measures the children of multiprocessing, if it does."""
    patched = hasattr(sys.modules.get("multiprocessing"), "_coverage$patched")
    return os.environ.get("COVERAGE_RCFILE") if patched else None
