"""How jobs end: with all results, at a failure, cancelled by the caller, or without any worker."""

from .answer import Answer
from .commands import DiscardChunks, FailJob, FinishJob
from .job_queue import JobQueue
from .job_states import CANCELLED, FAILING, FINISHED, KILLING, RUNNING, WITHDRAWING
from .reclaiming import Reclaiming
from .state import Job, Worker
from .workers import Workers


class JobEndings:
    """Ends jobs, and kills the workers that still run their items, if the jobs ask for that."""

    def __init__(
        self,
        jobs: JobQueue,
        workers: Workers,
        reclaiming: Reclaiming,
        answer: Answer,
        can_kill: bool,
    ) -> None:
        self._jobs = jobs
        self._workers = workers
        self._reclaiming = reclaiming
        self._answer = answer
        self._can_kill = can_kill

    def finish_if_done(self, job: Job) -> None:
        """End a job if the job waits for no more input, and if all wanted items have ended."""
        if job.state >= FINISHED or job.unfinished():
            return
        # Workers that run unwanted items of the job may be being killed. Then the job is over only
        # when these workers have ended: the caller relies on it that no item of the job runs
        # afterwards.
        if job.in_flight and self._can_kill and job.kills():
            return
        job.state = CANCELLED if job.state == KILLING else FINISHED
        self._end(job)

    def _end(self, job: Job) -> None:
        """Forget a job whose state says that the job is over, and tell the engine the outcome."""
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
        """Make all items from `end` on unwanted; kill their workers, if the job asks for that."""
        job.end = end
        for worker in self._workers.holders_of(job):
            if self._can_kill and job.kills():
                self.end_unwanted(worker)
            # If the workers are not killed, their running items go on to their end. Unwanted items
            # that have not begun are taken back from the workers.
            elif any(c.job is job and c.step and c.start >= end for c in worker.chunks):
                self._reclaiming.request(worker)

    def end_unwanted(self, worker: Worker) -> None:
        """Kill a worker that holds only unwanted chunks, if the jobs of these chunks ask for that.

        If the worker also holds wanted chunks, the scheduler first takes back all items that the
        worker has not begun.
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

        If `kill` is true, the workers that run items of the job are killed, and the job is over
        when these workers are gone.
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

        A worker that holds items of the job may have begun none of them. It is first asked to give
        these items back, and `settle_withdrawals` decides when the worker has answered.
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
            # If several workers hold items of the job, the job is not cancelled: what one worker
            # gives back could be sent again before the other workers answer. If a worker holds only
            # one chunk, whose items begin together, that chunk has begun, and the job is not
            # cancelled either.
            job.state = WITHDRAWING
            self._reclaiming.request(holders[0])

    def settle_withdrawals(self, worker: Worker, reclaimed: list[Job]) -> None:
        """Cancel the jobs that wait for the worker's answer and of which no item has begun.

        The other jobs that waited for the answer go on, because some of their items may have begun.
        """
        for job in [*reclaimed, *[chunk.job for chunk in worker.chunks]]:
            if job.state == WITHDRAWING:
                if job.in_flight or job.has_begun():
                    job.state = RUNNING
                else:
                    self.cancel(job, kill=False)
