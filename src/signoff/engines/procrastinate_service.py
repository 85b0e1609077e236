"""
One worker of Procrastinate's, kept at work and ended in good order (floor 4).

Procrastinate knows asyncio only, and its cancellation; what Signoff runs goes by anyio's. So
each task runs in a task group of its own, and a job only waits for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final, cast

import anyio
import psycopg
from anyio.abc import TaskGroup
from procrastinate import App, JobContext, PsycopgConnector
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException, UniqueViolation
from procrastinate.jobs import Job, Status
from procrastinate.manager import JobManager
from psycopg_pool import AsyncConnectionPool
from typing_extensions import override

from signoff.engines.procrastinate_jobs import QUEUE, TASK, job_of
from signoff.model.changes import Task, TaskKind

LOGGER: Final = logging.getLogger("signoff.engines.procrastinate")

CONNECTIONS: Final = 4
"""How many connections a worker keeps at the most, besides the one that it listens on."""

PATIENCE_SECONDS: Final = 5.0
"""How long to wait for a connection, and for what is done on it."""

RECONNECT_SECONDS: Final = 1.0
"""How long the pool goes on with an attempt to connect; whoever waits makes it begin another."""

LOOK_SECONDS: Final = 0.25
"""After how long a worker looks for jobs: it is told of new ones, but not that one need not wait any more for another of its run."""

AGAIN_SECONDS: Final = 0.5
"""How long to wait before the next worker, after one that lost its server."""

LOOSE_SECONDS: Final = 1.0
"""How long a worker that ends waits for what it has begun."""

BEATS: Final = 6
"""How often a worker gives a sign of life in the time after which it is taken for dead."""


class _Books(JobManager):
    """
    Procrastinate's books, which take it lightly that the end of a job cannot be written.

    The server is gone, or another worker has put the job back. Nobody waits for the task that
    writes it, and what is still at work by the books is put back in time.
    """

    @override
    async def finish_job(self, job: Job, status: Status, delete_job: bool) -> None:
        try:
            await super().finish_job(job, status, delete_job)
        except ConnectorException as error:
            LOGGER.warning("the end of job %s is not in the books: %r", job.id, error.__cause__)


class Service:
    """
    A worker of Procrastinate's, and what its jobs are for.

    Args:
        address: Where the jobs are, with names looked up in their schema.
        handle: Does a task.
        at_once: How many jobs run at the same time at the most.
        dead_after: After how long without a sign of life a worker is taken for dead.

    Attributes:
        opened: Set once tasks can be done.
    """

    def __init__(
        self,
        address: str,
        handle: Callable[[Task], Awaitable[None]],
        *,
        at_once: int,
        dead_after: timedelta,
    ) -> None:
        self._handle = handle
        self._at_once = at_once
        self._dead_after = dead_after.total_seconds()
        self.opened = anyio.Event()
        self._rest = asyncio.Event()
        self._stop = asyncio.Event()
        self._hands = cast("TaskGroup", None)
        self._cut: list[Task] = []
        self._worker_id: int | None = None
        self._running: set[int | None] = set()
        self._missed: set[int | None] = set()
        self._pool: AsyncConnectionPool[psycopg.AsyncConnection[Any]] = AsyncConnectionPool(
            address,
            min_size=1,
            max_size=CONNECTIONS,
            configure=_configure,
            check=AsyncConnectionPool.check_connection,
            timeout=PATIENCE_SECONDS,
            # Between two attempts it would wait ever longer.
            reconnect_timeout=RECONNECT_SECONDS,
            name="signoff jobs",
            open=False,
        )
        self._app = App(connector=PsycopgConnector())
        self._app.task(name=TASK, queue=QUEUE, pass_context=True)(self._job)
        self._app.job_manager = self._jobs = _Books(self._app.connector)

    def rest(self) -> None:
        """Take no more jobs, and go on with what is begun."""
        self._rest.set()

    def stop(self) -> None:
        """Take no more jobs, and end."""
        self._rest.set()
        self._stop.set()

    async def run(self) -> None:
        """Work until told to stop. Whoever cancels this waits until it has stopped."""
        with anyio.CancelScope(shield=True):
            await self._pool.open()
            try:
                await self._app.open_async(self._pool)
                async with anyio.create_task_group() as self._hands:
                    self.opened.set()
                    await self._employ()
                    self._hands.cancel_scope.cancel()
                await self.defer(*self._cut)
            finally:
                await self._pool.close(PATIENCE_SECONDS)

    async def do(self, task: Task) -> None:
        """Do a task; one who is cancelled while it waits for the end leaves it at work."""
        ended = anyio.Event()
        self._hands.start_soon(self._do, task, ended)
        await ended.wait()

    async def defer(self, *tasks: Task) -> None:
        """Make jobs of tasks, unless there are some. Of what goes wrong a sweep finds the rest."""
        try:
            # Shielded, because a connection must not be left in the midst of something.
            with anyio.move_on_after(PATIENCE_SECONDS, shield=True):
                for task in tasks:
                    with suppress(AlreadyEnqueued):
                        await self._jobs.defer_job_async(job_of(task))
        except ConnectorException as error:
            LOGGER.warning("of %d tasks some get no job: %s", len(tasks), error.__cause__)

    async def tidy(self) -> None:
        """Put the jobs of dead workers back, again and again."""
        while True:
            try:
                with anyio.move_on_after(PATIENCE_SECONDS, shield=True):
                    await self._put_back_stalled()
            except ConnectorException as error:
                LOGGER.warning("the jobs of dead workers wait: %s", error.__cause__)
            await anyio.sleep(self._dead_after / BEATS)

    # The worker.

    async def _employ(self) -> None:
        """Have one worker after the other until told to rest, then none until told to stop."""
        resting = asyncio.create_task(self._rest.wait())
        while True:
            worker = asyncio.create_task(self._work())
            await asyncio.wait({worker, resting}, return_when=asyncio.FIRST_COMPLETED)
            if resting.done():
                break
            await asyncio.wait({resting}, timeout=AGAIN_SECONDS)
        while not worker.done():
            # The first time it ends in good order, unless its server is gone.
            worker.cancel()
            await asyncio.wait({worker}, timeout=LOOSE_SECONDS + PATIENCE_SECONDS)
        await self._stop.wait()

    async def _work(self) -> None:
        try:
            await self._app.run_worker_async(
                queues=[QUEUE],
                name="signoff",
                concurrency=self._at_once,
                fetch_job_polling_interval=LOOK_SECONDS,
                shutdown_graceful_timeout=LOOSE_SECONDS,
                delete_jobs="successful",
                install_signal_handlers=False,
                update_heartbeat_interval=self._dead_after / BEATS,
                stalled_worker_timeout=self._dead_after,
            )
        except Exception as error:  # noqa: BLE001 - whatever ends a worker, the next one comes
            LOGGER.warning("a worker has ended, the next one comes: %r", error.__cause__ or error)

    async def _job(self, context: JobContext, kind: TaskKind, subject: str) -> None:
        job = context.job
        self._worker_id = job.worker_id
        self._running.add(job.id)
        try:
            # A worker that stops cancels what it does not wait for. The task goes on, or is
            # handed back by a new job; this one has done its part.
            with suppress(asyncio.CancelledError):
                await self.do(Task(kind=kind, subject=subject))
        finally:
            self._running.discard(job.id)

    # What it is for.

    async def _do(self, task: Task, ended: anyio.Event) -> None:
        try:
            await self._handle(task)
        except anyio.get_cancelled_exc_class():
            self._cut.append(task)
            raise
        finally:
            ended.set()

    # Jobs that nobody runs.

    async def _put_back_stalled(self) -> None:
        stalled = await self._jobs.get_stalled_jobs(
            queue=QUEUE, seconds_since_heartbeat=self._dead_after
        )
        for job in [*stalled, *await self._lost_of_ours()]:
            await self._put_back(job)

    async def _lost_of_ours(self) -> list[Job]:
        """Return jobs that our worker has by the books, and had no more the last time already."""
        if self._worker_id is None:
            return []
        booked = await self._jobs.list_jobs_async(
            queue=QUEUE, status=Status.DOING.value, worker_id=self._worker_id
        )
        before = self._missed
        lost = [job for job in booked if job.id not in self._running]
        self._missed = {job.id for job in lost}
        return [job for job in lost if job.id in before]

    async def _put_back(self, job: Job) -> None:
        LOGGER.warning("job %s of worker %s is put back", job.id, job.worker_id)
        # Another worker may do the same at this moment.
        with suppress(ConnectorException):
            try:
                await self._jobs.retry_job(job)
            except UniqueViolation:
                # There is a new one for the same task already.
                await self._jobs.finish_job(job, Status.FAILED, delete_job=True)


async def _configure(connection: psycopg.AsyncConnection[Any]) -> None:
    # Each of Procrastinate's statements is a transaction of its own anyway.
    await connection.set_autocommit(True)
