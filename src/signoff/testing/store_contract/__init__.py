"""
The suite that proves a store (floor 9).

A module each for what it says about `commits`, `runs`, `signals`, `requests`, the `outbox`,
`claims`, `books` such as audit and marks, `sharing` and `processes`; in the last, a `peer` is the
other process. `base` is what all inherit; `records` and `examples` are what they write.
"""

from __future__ import annotations

from signoff.testing.store_contract.base import Capability, OtherProcess, Reopen
from signoff.testing.store_contract.books import BooksContract
from signoff.testing.store_contract.claims import ClaimsContract
from signoff.testing.store_contract.commits import CommitsContract
from signoff.testing.store_contract.outbox import OutboxContract
from signoff.testing.store_contract.processes import ProcessesContract
from signoff.testing.store_contract.requests import RequestsContract
from signoff.testing.store_contract.runs import RunsContract
from signoff.testing.store_contract.sharing import SharingContract
from signoff.testing.store_contract.signals import SignalsContract

__all__ = ["Capability", "OtherProcess", "Reopen", "StoreContract"]


class StoreContract(
    CommitsContract,
    RunsContract,
    SignalsContract,
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
