"""
What helps to test code that uses Signoff, and what proves an adapter (floor 9).

Needs pytest: `pip install signoff[testing]`.
"""

from __future__ import annotations

import pytest

# Before the imports: only then do the shipped tests say what differed.
pytest.register_assert_rewrite(
    "signoff.testing.contract_base",
    "signoff.testing.contract_books",
    "signoff.testing.contract_claims",
    "signoff.testing.contract_commits",
    "signoff.testing.contract_outbox",
    "signoff.testing.contract_records",
    "signoff.testing.contract_requests",
    "signoff.testing.contract_runs",
    "signoff.testing.contract_sharing",
    "signoff.testing.store_contract",
)

from signoff.testing.store_contract import StoreContract  # noqa: E402 - see above

__all__ = ["StoreContract"]
