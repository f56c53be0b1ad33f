"""Starting worker processes by one start method, and what is kept for that between two starts."""

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
    """Starts the workers of one pool: keeps the template that is forked, and the lifeline.

    A process may change its user while it has workers. Those that were started before keep the
    template and the lifeline that they were started with: another user may not open these.

    Attributes:
        method: the start method.
        identity: the user and groups as whom the last worker was started.
        template: of which workers are forked with the start method forkserver; None: it is not
            started, or it has died.
        lifeline: of all workers of `identity`, also those of a template that has died.
    """

    def __init__(self, method: str, unanswered: Unanswered[Any]) -> None:
        """Start nothing yet; templates that are started are added to `unanswered`."""
        self.method = method
        self.identity = _launch.identity()
        self.template: Template | None = None
        self.lifeline: _boot.Lifeline | None = None
        self._unanswered = unanswered
        self._poller: Poller[Any] | None = None  # which watches the templates
        self._old_templates: list[Template] = []  # of other users
        self._old_lifelines: list[_boot.Lifeline] = []

    def start(
        self,
        worker: int,
        poller: Poller[Any],
        initializer: Initializer | None,
        script: Script | None,
        about_import: Callable[[Script], bytes],
    ) -> _launch.StartedProcess:
        """Start the process of a worker; raises OSError where that is refused.

        Args:
            worker: its number.
            poller: watches a template that is started for it.
            initializer: for a fork, which is not sent its initializer.
            script: which a template imports for its workers, as it is now; None: no script.
            about_import: returns what the template is told about that.
        """
        self._poller = poller
        self._set_identity()
        if self.method == "forkserver":
            self._have_template(script, about_import)
        ours, theirs = _boot.connection()
        journal: ResultJournal | None = None
        try:
            with closing(theirs):
                # Before the process is started: nobody can have closed the other end yet.
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
        """Put template and lifeline aside if this process has changed its user since."""
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
            self.renew()  # its workers would have the script as it was
        if self.template is None:
            self.template = Template(_boot.take(self.lifeline))
            self.lifeline = self.template.lifeline
            assert self._poller is not None
            self._poller.watch(self.template.sock, self.template)
            self._unanswered.add(self.template)
            if script is not None:
                self.template.import_script(script, about_import(script))

    def renew(self) -> None:
        """Put a template aside that has imported the script, and what the script imports."""
        template = self.template
        if template is not None and template.script is not None:
            self.template = None
            self._old_templates.append(template)
            if template.is_unused:
                self._close_template(template)

    def has(self, template: Template) -> bool:
        """Return whether a template was not closed since it was polled."""
        return template in (self.template, *self._old_templates)

    def read(self, template: Template) -> list[int]:
        """Read what a template reports; return the numbers of workers that have ended.

        An old template that has no workers any more is closed. `drop` one that is not `alive` when
        its workers are seen to.
        """
        ended = template.read()
        if template.alive and template is not self.template and template.is_unused:
            self._close_template(template)
        return ended

    def drop(self, template: Template) -> None:
        """Close a template that has died."""
        if template is self.template:
            self.template = None
        self._close_template(template)

    def close_templates(self) -> None:
        """Close all templates; they end their workers."""
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
        """Close all lifelines; that kills workers that are left."""
        lifeline, self.lifeline = self.lifeline, None
        for one in [*self._old_lifelines, *([] if lifeline is None else [lifeline])]:
            one.close()
        self._old_lifelines.clear()

    def abandon(self) -> None:
        """End all templates where the program has closed our descriptors."""
        for template in self._take_templates():
            template.abandon()
        self.close_lifelines()

    def after_fork_in_child(self) -> None:
        """Give back what a fork of the pool's process has of its parent's templates."""
        self.close_lifelines()
        for template in self._take_templates():
            template.after_fork_in_child()
