"""Runs, for applications without an event loop (floor 9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from signoff.flows.flow import Flow
from signoff.model.run import Run, RunStatus
from signoff.sync.loop import Asked, ClientLoop


class BlockingFlows:
    """The runs of a client; each method is the one of `signoff.Client.flows`, blocking."""

    def __init__(self, loop: ClientLoop, requester: Asked) -> None:
        self._loop = loop
        self._requester = requester

    def start(
        self,
        flow: type[Flow[object]] | Flow[object],
        *,
        inputs: Mapping[str, object] | None = None,
        requester: str | None = None,
    ) -> Run:
        """
        Store a new run, `ready`; whoever serves or drains the store advances it.

        Raises:
            ValueError: An input does not fit the state; the message names the field.
            RunError: A run with this id is open.
        """
        with self._requester.here(requester):
            return self._loop.call(
                lambda client: client.flows.start(flow, inputs=inputs, requester=requester)
            )

    def get(self, run_id: str) -> Run:
        """Return a run as it stands. Raises `NotFoundError`."""
        return self._loop.call(lambda client: client.flows.get(run_id))

    def wait(self, run_id: str, *, timeout: timedelta | None = None) -> Run:
        """
        Return a run once it has ended, or as it stands after `timeout` of real time.

        Raises:
            NotFoundError: There is none.
        """
        return self._loop.call(lambda client: client.flows.wait(run_id, timeout=timeout))

    def list(
        self,
        *,
        status: RunStatus | None = None,
        flow: type[Flow[object]] | None = None,
        limit: int = 50,
    ) -> Sequence[Run]:
        """Return runs as they stand, oldest first."""
        return self._loop.call(
            lambda client: client.flows.list(status=status, flow=flow, limit=limit)
        )

    def cancel(self, run_id: str, *, by: str | None = None) -> Run:
        """End a run, its requests and its children. Raises `NotFoundError`."""
        with self._requester.here(by):
            return self._loop.call(lambda client: client.flows.cancel(run_id, by=by))

    def retry(self, run_id: str, *, by: str | None = None) -> Run:
        """
        Let a failed or blocked run go on.

        Raises:
            NotFoundError: There is none.
            ConfigurationError: It is neither failed nor blocked.
        """
        with self._requester.here(by):
            return self._loop.call(lambda client: client.flows.retry(run_id, by=by))
