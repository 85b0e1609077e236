"""An engine on many machines: jobs in PostgreSQL, run by Procrastinate's workers (floor 4)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import anyio
from anyio import CapacityLimiter, to_thread
from typing_extensions import override

from signoff.engines.local import LocalEngine
from signoff.engines.procrastinate_jobs import Place
from signoff.engines.procrastinate_service import Service
from signoff.errors import ConfigurationError
from signoff.model.changes import Task
from signoff.ports import Engine, LeavesToOthers, TransactionalSink


class ProcrastinateEngine(Engine, TransactionalSink, LeavesToOthers):
    """
    Runs tasks as jobs of Procrastinate, by whatever process serves.

    The jobs are in the database of the client's `PostgresStore`, in a schema beside its own
    (`signoff_jobs` beside `signoff`), made on first use. The tasks that follow from a commit
    become jobs in the very transaction of it, so that both are made or neither. A worker on any
    machine is told of it and takes it; a job that is done is deleted. What waits for a human
    has no job.

    **Dead workers.** A worker that gives no sign of life for `dead_after` is taken for dead, and
    its jobs are put back. What this process sweeps, because it was lost or its time has come, it
    does itself, and needs no job.

    **Stopping.** When serving ends no more jobs are taken, and what is running has a second to
    end, after the `grace` of `Client.serving`. What has not ended then is cancelled, and handed
    back to the others by a new job. An approved call that has begun is waited for.

    **Event loops.** Serving takes asyncio, because Procrastinate does. A client that does not
    serve may run on trio.

    Args:
        address: Where the jobs are, if the store's own address will not do, as one of a pooler
            in transaction mode: the workers listen. If it leads to another database than the
            store's, a task becomes a job after its commit, by the process that serves.
        schema: Where Procrastinate's tables are; by itself the store's schema with `_jobs`
            behind its name.
        at_once: How many jobs run in this process at the same time at the most.
        dead_after: After how long without a sign of life a worker is taken for dead.

    Raises:
        ConfigurationError: The address cannot be understood, or the schema have that name.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        schema: str | None = None,
        at_once: int = 64,
        dead_after: timedelta = timedelta(seconds=30),
    ) -> None:
        self._place = Place(address, schema)
        self._at_once = at_once
        self._dead_after = dead_after
        self._given = LocalEngine()
        self._services: dict[Callable[[Task], Awaitable[None]], Service] = {}

    @override
    def meet(self, address: str, schema: str) -> None:
        self._place.meet(address, schema)

    @override
    def is_within(self, connection: object) -> bool:
        return self._place.is_shared_with(connection)

    @override
    def submit_within(self, connection: object, tasks: Sequence[Task]) -> None:
        self._place.enqueue(connection, tasks)

    @override
    def submit(self, tasks: Sequence[Task]) -> None:
        """Have jobs made of tasks by this process, if it serves; a sweep finds what it does not take."""
        self._given.submit(tasks)

    @override
    def take_no_more(self, handle: Callable[[Task], Awaitable[None]]) -> None:
        if handle in self._services:
            self._services[handle].rest()

    @override
    async def serve(
        self,
        handle: Callable[[Task], Awaitable[None]],
        *,
        sweep: Callable[[], Awaitable[Sequence[Task]]],
        every_seconds: float,
    ) -> None:
        """
        Run jobs, and what a sweep finds, until cancelled.

        Raises:
            ConfigurationError: This is no asyncio loop, this role may not make the schema, or
                nothing says where the database is.
            StoreUnavailableError: The server cannot be reached at the start; later it is waited for.
        """
        _refuse_other_loops()
        await to_thread.run_sync(self._place.prepare, limiter=CapacityLimiter(1))
        service = Service(
            self._place.address,
            handle,
            at_once=self._at_once,
            dead_after=self._dead_after,
        )
        self._services[handle] = service
        async with anyio.create_task_group() as group:
            group.start_soon(service.run)
            try:
                await service.opened.wait()
                async with anyio.create_task_group() as beside:
                    beside.start_soon(service.tidy)
                    beside.start_soon(self._hand_on, service, every_seconds)
                    await LocalEngine().serve(service.do, sweep=sweep, every_seconds=every_seconds)
            finally:
                del self._services[handle]
                service.stop()

    async def _hand_on(self, service: Service, every_seconds: float) -> None:
        await self._given.serve(service.defer, sweep=_nothing, every_seconds=every_seconds)


async def _nothing() -> Sequence[Task]:
    return ()


def _refuse_other_loops() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise ConfigurationError(
            "ProcrastinateEngine serves on asyncio only, because Procrastinate does; run the"
            " worker with anyio.run(main, backend='asyncio')"
        ) from None
