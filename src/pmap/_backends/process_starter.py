"""Starting worker processes by one start method; keeping the template process and the lifeline."""

from __future__ import annotations

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
    """Starts the workers of one pool, and keeps their template process and their lifeline.

    A process may change its user while it has workers. Workers that were started before the change
    keep the template process and the lifeline that they were started with: the new user may not
    open these.

    Attributes:
        method: the start method.
        identity: the user and the groups as which the last worker was started.
        template: the template process from which workers are forked, with the start method
            forkserver; None: no template process is started, or it was closed.
        lifeline: the lifeline of all workers of `identity`, also of workers whose template process
            has died.
    """

    def __init__(self, method: str, unanswered: Unanswered[Any]) -> None:
        """Start nothing yet; `unanswered` will hold the template process until it answers."""
        self.method = method
        self.identity = _launch.identity()
        self.template: Template | None = None
        self.lifeline: _boot.Lifeline | None = None
        self._unanswered = unanswered
        self._poller: Poller[Any] | None = None  # watches the sockets of the template processes
        # Template processes that fork no more workers: they run as another user, or they have
        # imported an old version of the script.
        self._old_templates: list[Template] = []
        self._old_lifelines: list[_boot.Lifeline] = []  # lifelines of another user's workers

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
            poller: watches the template process, if one is started.
            initializer: the initializer of a worker that inherits it by a fork of the caller; None:
                there is none, or the initializer is sent.
            script: the script that the template process imports, as the file is now; None: none.
            about_import: returns the bytes that tell the template process how to import the script.
        """
        self._poller = poller
        self._set_identity()
        if self.method == "forkserver":
            self._have_template(script, about_import)
        ours, theirs = _boot.connection()
        journal: ResultJournal | None = None
        try:
            with closing(theirs):
                # The result journal is sent before the process is started: no process can have
                # closed the other end of the socket yet.
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
        return _launch.start_fork(theirs, ours, self.lifeline, initializer)

    def _set_identity(self) -> None:
        """Put template process and lifeline aside if the caller has changed its user or groups."""
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
            self.renew()  # workers of this template process would have an old version of the script
        if self.template is None:
            self.template = Template(_boot.take(self.lifeline))
            self.lifeline = self.template.lifeline
            assert self._poller is not None
            self._poller.watch(self.template.sock, self.template)
            self._unanswered.add(self.template)
            if script is not None:
                self.template.import_script(script, about_import(script))

    def renew(self) -> None:
        """Put the template process aside if it has imported the script, which may have changed.

        The next worker gets a new template process.
        """
        template = self.template
        if template is not None and template.script is not None:
            self.template = None
            self._old_templates.append(template)
            if template.is_unused:
                self._close_template(template)

    def has(self, template: Template) -> bool:
        """Return whether a template process is still in use, and was not closed."""
        return template in (self.template, *self._old_templates)

    def read(self, template: Template) -> list[int]:
        """Read what a template process reports; return the numbers of workers that have ended.

        An old template process that has no workers any more is closed. If the template process is
        not `alive` afterwards, the backend handles the ends of its workers and then calls `drop`.
        """
        ended = template.read()
        if template.alive and template is not self.template and template.is_unused:
            self._close_template(template)
        return ended

    def drop(self, template: Template) -> None:
        """Close a template process that has died."""
        if template is self.template:
            self.template = None
        self._close_template(template)

    def close_templates(self) -> None:
        """Close all template processes; each ends its workers."""
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
        """Close all lifelines; that kills the workers that are left."""
        lifeline, self.lifeline = self.lifeline, None
        for one in [*self._old_lifelines, *([] if lifeline is None else [lifeline])]:
            one.close()
        self._old_lifelines.clear()

    def abandon(self) -> None:
        """End all template processes after the program has closed descriptors of the pool."""
        for template in self._take_templates():
            template.abandon()
        self.close_lifelines()

    def after_fork_in_child(self) -> None:
        """Close the copies that a fork of the caller has of lifelines and template sockets."""
        self.close_lifelines()
        for template in self._take_templates():
            template.after_fork_in_child()
