"""How jobs end: with all results, at a failure, cancelled by the caller, or without any worker."""

from .answer import Answer
from .commands import DiscardChunks, FailJob, FinishJob
from .job_queue import JobQueue
from .job_states import CANCELLED, FAILING, FINISHED, KILLING, RUNNING, WITHDRAWING
from .reclaiming import Reclaiming
from .state import Job, Worker
from .workers import Workers


class JobEndings:
    """Ends jobs, and ends the items of these jobs that are still running, if they are to be."""

    def __init__(
        self,
        jobs: JobQueue,
        workers: Workers,
        reclaiming: Reclaiming,
        answer: Answer,
        can_kill: bool,
    ) -> None:
        """Begin with no job ended.

        Args:
            jobs: the jobs that are not over.
            workers: the workers that may hold unwanted items.
            reclaiming: takes back items that workers have not begun.
            answer: gets the commands.
            can_kill: whether workers can be killed, as processes can and threads cannot.
        """
        self._jobs = jobs
        self._workers = workers
        self._reclaiming = reclaiming
        self._answer = answer
        self._can_kill = can_kill

    def finish_if_done(self, job: Job) -> None:
        """End a job if all its results have come: its input and all wanted items have ended."""
        if job.state >= FINISHED or job.unfinished():
            return
        # If workers with unwanted items of the job are killed, the job is over only when these
        # workers are gone: then nothing of the job runs any more.
        if job.in_flight and self._can_kill and job.kills():
            return
        job.state = CANCELLED if job.state == KILLING else FINISHED
        self._end(job)

    def _end(self, job: Job) -> None:
        """Forget a job that is over by its state, and tell the engine its outcome."""
        self._jobs.remove(job)
        if job.in_flight:
            for worker in self._workers.holders_of(job):
                if not worker.leaving:
                    self._answer.commands.append(DiscardChunks(worker.id, job.id))
        if job.state == CANCELLED:
            self._answer.commands.append(FailJob(job.id, cancelled=True))
        else:
            self._answer.commands.append(FinishJob(job.id, job.failed))
        if self._workers.closed:
            self._workers.retire_if_done()

    def end_all_unstarted(self) -> None:
        """End all jobs, because no worker can be started for them."""
        for id in self._jobs.clear():
            self._answer.commands.append(FailJob(id, cancelled=False))

    # --- the failure of an item ----------------------------------------------------------------

    def fail(self, job: Job, index: int) -> None:
        """Record that an item has failed for good: later items are not wanted any more.

        If the job collects failures, later items stay wanted.
        """
        if job.state >= FINISHED or job.rules.collect or index >= job.end:
            return
        job.failed = index
        job.state = FAILING
        self._drop_from(job, index)

    def _drop_from(self, job: Job, end: int) -> None:
        """Make all items from `end` on unwanted; end those that run, if the job asks for that."""
        job.end = end
        for worker in self._workers.holders_of(job):
            if self._can_kill and job.kills():
                self.end_unwanted(worker)
            # Unwanted items that are not killed run to their end. Unwanted items that have not
            # begun are taken back from their workers, so that they do not begin.
            elif any(c.job is job and c.step and c.start >= end for c in worker.chunks):
                self._reclaiming.request(worker)

    def end_unwanted(self, worker: Worker) -> None:
        """Kill a worker that holds only unwanted chunks, if their jobs ask for that.

        If the worker also holds wanted chunks, all items that it has not begun are taken back
        first.
        """
        if worker.leaving or not self._can_kill:
            return
        unwanted = [chunk.next >= chunk.job.end and chunk.job.kills() for chunk in worker.chunks]
        if all(unwanted) and unwanted:
            self._workers.kill(worker)
        elif any(unwanted):
            self._reclaiming.request(worker)

    # --- the cancellation of a job -------------------------------------------------------------

    def cancel(self, job: Job, kill: bool) -> None:
        """End a job without results.

        `kill`: workers that run items of the job are killed, and the job is over when these workers
        are gone.
        """
        if kill and self._can_kill and job.in_flight:
            job.state = KILLING
            self._drop_from(job, 0)
        else:
            job.state = CANCELLED
            self._drop_from(job, 0)
            self._end(job)

    def cancel_if_idle(self, job: Job) -> None:
        """Cancel a job if no worker holds items of the job."""
        if job.state < FINISHED and not job.in_flight:
            self.cancel(job, kill=False)

    def withdraw(self, job: Job) -> None:
        """Cancel a job if none of its items has begun.

        If a worker holds items of the job and may not have begun them, it is asked to give them
        back first, and `settle_withdrawals` decides when the worker has answered.
        """
        holders = self._workers.holders_of(job)
        if not holders:
            if not job.has_begun():
                self.cancel(job, kill=False)
        elif (
            len(holders) == 1
            and holders[0].holds_more()
            and not holders[0].leaving
            and job.state == RUNNING
        ):
            # Only one worker is asked for the items that it has not begun: if several workers held
            # items of the job, items that one worker gave back could be sent again before the other
            # workers answer. A worker that holds nothing but one chunk, whose items begin together,
            # has begun that chunk.
            job.state = WITHDRAWING
            self._reclaiming.request(holders[0])

    def settle_withdrawals(self, worker: Worker, reclaimed: list[Job]) -> None:
        """Cancel the jobs of which the worker has given back all items, as was asked of it.

        The other jobs go on, because some of their items may have begun.
        """
        for job in [*reclaimed, *[chunk.job for chunk in worker.chunks]]:
            if job.state == WITHDRAWING:
                if job.in_flight or job.has_begun():
                    job.state = RUNNING
                else:
                    self.cancel(job, kill=False)
