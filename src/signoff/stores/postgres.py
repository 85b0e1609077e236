"""
The store over a PostgreSQL server, of the extra `postgres` (floor 4).

Not among the names of `signoff.stores`, because its driver need not be installed.
"""

from __future__ import annotations

try:
    from signoff.stores.postgres_store import PostgresStore
except ImportError as error:
    raise ImportError("PostgresStore needs psycopg: pip install 'signoff[postgres]'") from error

__all__ = ["PostgresStore"]
