"""Starts worker processes by one of the start methods."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeAlias

from . import boot as _boot
from . import launch as _launch
from .template_client import Template

if TYPE_CHECKING:
    from .._transport.journal import ResultJournal
    from .._transport.light_stdlib import socket
    from .main_module import Script
    from .poller import Poller
    from .unanswered import Unanswered

    Initializer: TypeAlias = tuple[Callable[..., object], tuple[object, ...]]


class ProcessStarter:
    """Starts the workers of one pool.

    `template` is the fork server, a process from which workers are forked. `lifeline` is a pipe
    that tells workers that the caller has ended: the kernel closes it then.

    The caller may change its user while it has workers. Workers that were started before the change
    keep their fork server and their lifeline, because the new user may not open these.

    Attributes:
        method: the start method.
        identity: the user and the groups with whose rights the last worker was started.
        template: the fork server; None if the start method is another one, or if no fork server is
            open.
        lifeline: the lifeline of all workers that were started as `identity`, even of those whose
            fork server has died.
    """

    def __init__(self, method: str, unanswered: Unanswered[Any]) -> None:
        """Begin without any process.

        `unanswered` holds each new process (the fork server, say) until that process has answered.
        """
        self.method = method
        self.identity = _launch.identity()
        self.template: Template | None = None
        self.lifeline: _boot.Lifeline | None = None
        self._unanswered = unanswered
        self._poller: Poller[Any] | None = None  # watches the sockets of the fork servers
        # Fork servers that fork no more workers, but whose workers still run. They were started as
        # another user, or have an old version of the script.
        self._old_templates: list[Template] = []
        # The lifelines of workers that were started as another user.
        self._old_lifelines: list[_boot.Lifeline] = []

    def start(
        self,
        worker: int,
        poller: Poller[Any],
        initializer: Initializer | None,
        script: Script | None,
        about_import: Callable[[Script], bytes],
    ) -> _launch.StartedProcess:
        """Start the process of a worker; raise OSError if the system refuses to start it.

        Args:
            worker: the number of the worker.
            poller: will watch the socket of the fork server, if one is started.
            initializer: the pool's initializer, for a worker that is a fork of the caller and
                inherits it; None if there is none, or if it is sent in a message.
            script: the user's script, with the present version of its file, which the fork server
                imports; None if it imports none.
            about_import: returns the bytes that tell the fork server how to import the script.
        """
        self._poller = poller
        self._set_identity()
        if self.method == "forkserver":
            self._have_template(script, about_import)
        ours, theirs = _boot.connection()
        journal: ResultJournal | None = None
        try:
            with closing(theirs):
                # The memory for results is sent before the process starts. If the process failed at
                # once, it would close the socket, and sending would raise an error.
                journal = _launch.send_journal(ours)
                handle = self._start_process(worker, ours, theirs, initializer)
        except BaseException:
            ours.close()
            if journal is not None:
                journal.close()
            raise
        ours.setblocking(False)
        return _launch.StartedProcess(ours, handle, journal)

    def _start_process(
        self, worker: int, ours: socket, theirs: socket, initializer: Initializer | None
    ) -> _launch.Handle:
        if self.template is not None:
            return self.template.start(worker, theirs)
        if self.lifeline is None or self.lifeline.closed:
            self.lifeline = _boot.Lifeline()
        if self.method == "spawn":
            return _launch.start_spawn(theirs, self.lifeline)
        # Only the module `interpreters` makes interpreters with workers. If it was never imported,
        # there are none.
        module = sys.modules.get("pmap._backends.interpreters")
        if getattr(module, "living", None):
            raise OSError(
                "start_method='fork' works only while there are no interpreters of "
                "backend='interpreters': Python crashes in a fork of a process that has some. "
                "pmap.shutdown() ends idle ones; or use another start method"
            )
        return _launch.start_fork(theirs, ours, self.lifeline, initializer)

    def _set_identity(self) -> None:
        """If the caller has changed its user, fork no more workers from the present fork server."""
        identity = _launch.identity()
        if identity != self.identity:
            self._old_lifelines += [] if self.lifeline is None else [self.lifeline]
            self._old_templates += [] if self.template is None else [self.template]
            self.lifeline = self.template = None
        self.identity = identity

    def _have_template(
        self, script: Script | None, about_import: Callable[[Script], bytes]
    ) -> None:
        if self.template is not None and not self.template.alive:
            self.close_templates()
        if self.template is not None and self.template.script != script:
            # The script has changed since the fork server imported it, so a new fork server is
            # needed.
            self.renew()
        if self.template is None:
            self.template = Template(_boot.take(self.lifeline))
            self.lifeline = self.template.lifeline
            assert self._poller is not None
            self._poller.watch(self.template.sock, self.template)
            self._unanswered.add(self.template)
            # a thread in `poll` does not know of the new fork server, for whose answer it has to
            # wait
            self._poller.wake()
            if script is not None:
                self.template.import_script(script, about_import(script))

    def renew(self) -> None:
        """If the fork server has imported the script, stop using it: the script may have changed.

        The next worker is forked from a new fork server.
        """
        template = self.template
        if template is not None and template.script is not None:
            self.template = None
            self._old_templates.append(template)
            if template.is_unused:
                self._close_template(template)

    def has(self, template: Template) -> bool:
        """Return whether this object still has the fork server open, and so reads its messages."""
        return template in (self.template, *self._old_templates)

    def read(self, template: Template) -> list[int]:
        """Read the messages of a fork server; return the numbers of its workers that have ended.

        A fork server that forks no more workers is closed when it has no workers left. If the fork
        server itself has died, the caller of this method handles the ends of its workers, and then
        calls `drop`.
        """
        ended = template.read()
        if template.alive and template is not self.template and template.is_unused:
            self._close_template(template)
        return ended

    def drop(self, template: Template) -> None:
        """Close the descriptors of a fork server that has died."""
        if template is self.template:
            self.template = None
        self._close_template(template)

    def close_templates(self) -> None:
        """Close all fork servers; each of them first ends its workers."""
        for template in self._take_templates():
            self._close_template(template)

    def _take_templates(self) -> list[Template]:
        template, self.template = self.template, None
        old, self._old_templates = self._old_templates, []
        return [*old, *([] if template is None else [template])]

    def _close_template(self, template: Template) -> None:
        self._unanswered.discard(template)
        if template in self._old_templates:
            self._old_templates.remove(template)
        if self._poller is not None:
            self._poller.unwatch(template.sock)
        template.close()

    def close_lifelines(self) -> None:
        """Close all lifelines, the pipes that workers watch; workers that are left end then."""
        lifeline, self.lifeline = self.lifeline, None
        for one in [*self._old_lifelines, *([] if lifeline is None else [lifeline])]:
            one.close()
        self._old_lifelines.clear()

    def abandon(self) -> None:
        """End all fork servers, after the program has closed descriptors of the pool."""
        for template in self._take_templates():
            template.abandon()
        self.close_lifelines()

    def after_fork_in_child(self) -> None:
        """Close the copies of lifelines and of fork servers' sockets that this fork has."""
        self.close_lifelines()
        for template in self._take_templates():
            template.after_fork_in_child()
