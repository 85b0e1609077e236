"""The suite that proves a store (floor 9)."""

from __future__ import annotations

from signoff.testing.contract_base import Capability, OtherProcess, Reopen
from signoff.testing.contract_books import BooksContract
from signoff.testing.contract_claims import ClaimsContract
from signoff.testing.contract_commits import CommitsContract
from signoff.testing.contract_outbox import OutboxContract
from signoff.testing.contract_processes import ProcessesContract
from signoff.testing.contract_requests import RequestsContract
from signoff.testing.contract_runs import RunsContract
from signoff.testing.contract_sharing import SharingContract

__all__ = ["Capability", "OtherProcess", "Reopen", "StoreContract"]


class StoreContract(
    CommitsContract,
    RunsContract,
    RequestsContract,
    OutboxContract,
    ClaimsContract,
    BooksContract,
    SharingContract,
    ProcessesContract,
):
    """
    Every promise of `signoff.ports.Store` and `signoff.model.changes.Changes`, as tests.

    Inherit it, override its fixtures, and say what your store can do::

        class TestMyStore(StoreContract):
            capabilities = StoreContract.BASE | {Capability.DURABLE}

            @pytest.fixture
            async def store(self, tmp_path: Path) -> AsyncIterator[Store]:
                async with MyStore(tmp_path / "my.db") as store:
                    yield store

            @pytest.fixture
            def reopen(self, store: Store, tmp_path: Path) -> Reopen: ...

    The names and docstrings of the tests are the specification. A declared capability that is
    missing fails, and so does one that is there and not declared; nothing is skipped.
    """
