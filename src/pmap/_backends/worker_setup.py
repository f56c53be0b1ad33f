"""The set-up message, which each new worker gets first: initializer, limits, script, etc."""

from __future__ import annotations

import marshal
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from .._calls.describe import name_of
from .._jobs.reports import streams_of_caller
from .._transport import process_role, protocol
from .._transport.by_value.names import Needs
from .._transport.by_value.sent_names import UnsentNameError
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
    """Makes the set-up message for each worker of a pool, and sends it."""

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
        """Keep the settings of all workers; those not listed are described at `ProcessBackend`.

        `may_spin`: whether a worker that waits for a message may poll for a moment before it
        sleeps. `room`: how many bytes of shared memory a worker may keep for a second use.
        """
        self._initializer = initializer
        self._initargs = initargs
        self._max_memory = max_memory
        self._kill_over_memory = kill_over_memory
        self._limits = limits
        self._may_spin = may_spin
        self._room = room
        # The user's script that workers import; None if they import no script.
        self.script: ScriptFile | None = None
        # The environment that was captured last, and the same environment with the limits of
        # workers added.
        self._last: tuple[Environment, Environment] | None = None

    def packed_initializer(self, method: str, names: SentNames) -> tuple[Needs, Payload] | None:
        """Return the pickled initializer with its arguments, and the caller's names that it uses.

        Return None if there is no initializer, or if it cannot be pickled and workers are forks of
        the caller, which inherit it. With another start method, an exception of the pickling is
        passed on.
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
        """Return the initializer and its arguments, if a fork of the caller has to inherit them.

        Return None if there is no initializer, or if it is sent as a pickle (`packed`).
        """
        if self._initializer is None or packed is not None:
            return None
        return self._initializer, self._initargs

    def refusal(self, why: BaseException) -> NotPicklableError:
        """Return the error for an initializer that cannot be pickled; `why` is the cause."""
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
        """Return an environment in which the limits of workers are set.

        As long as `environment` is the same object, the returned object is the same, too.
        """
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
        """Send a new worker its set-up message, and before it the names that the initializer uses.

        `packed` is the pickled initializer; None if no initializer is sent.
        """
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
        """Return the bytes that tell a fork server how to import the user's script."""
        about = process_role.generation + 1, identity_of(1, method), environment
        how = streams_of_caller(), _coverage_config()
        return marshal.dumps((*about, list(sys.argv), script[:2], *how))

    def too_much_memory(self) -> str:
        """Return the sentence for an error that says that a worker has taken too much memory."""
        return f"it took more than {self._max_memory} bytes of memory"


def why_unsent(error: BaseException) -> BaseException:
    """Return the exception that tells why an object could not be pickled.

    If `error` only says that the value of some name could not be sent, return the cause of `error`.
    """
    return error.why if isinstance(error, UnsentNameError) else error


def _coverage_config() -> str | None:
    """Return the path of coverage.py's configuration for worker processes, or None.

    There is such a path only if coverage.py measures the child processes of `multiprocessing`, too.
    """
    patched = hasattr(sys.modules.get("multiprocessing"), "_coverage$patched")
    return os.environ.get("COVERAGE_RCFILE") if patched else None
