"""What every test shares: both event loops, no network, and the rule that CI skips nothing."""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import secrets
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

import hypothesis
import pytest

RELIABILITY = Path(__file__).with_name("reliability")
CRASH = Path(__file__).with_name("crash")

# Before any test imports a part of it, so that shipped tests say what differed.
pytest.register_assert_rewrite("signoff.testing")

hypothesis.settings.register_profile(
    "signoff",
    deadline=None,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],  # a busy machine is no failure
)
hypothesis.settings.load_profile("signoff")


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Run each async test on both event loops; override it where a library knows only one."""
    backend: str = request.param
    return backend


@pytest.fixture(autouse=True)
def _fresh_default_client() -> Iterator[None]:
    """Take the default client away after each test: its store knows the keys of that test."""
    yield
    from signoff.context import set_default_host  # noqa: PLC0415 - not before it is measured

    set_default_host(None)


def _beside(name: str) -> ModuleType:
    """Return a module of this folder that is none of tests: pytest's importing finds no others."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(name="postgres_cluster", scope="session")
def _postgres_cluster() -> ModuleType:
    """Return what starts PostgreSQL servers."""
    return _beside("postgres_cluster")


@pytest.fixture(name="mail_servers", scope="session")
def _mail_servers() -> ModuleType:
    """Return what starts Dovecot and Postfix."""
    return _beside("mail_servers")


@pytest.fixture(scope="session")
def check_books() -> Callable[[Path], None]:
    """Return what finds a change without its audit entry, or an entry without its change."""
    check: Callable[[Path], None] = _beside("books").check_books
    return check


@pytest.fixture(scope="session")
def copy_books() -> Callable[[str, str, Path], Path]:
    """Return what copies the books in a schema of a PostgreSQL server into a file for the check."""
    copy: Callable[[str, str, Path], Path] = _beside("books").copy_books
    return copy


@pytest.fixture(scope="session")
def postgres_binaries(postgres_cluster: ModuleType) -> Path:
    """Return where the binaries of a PostgreSQL server are; without any, the test is skipped."""
    found: Path | None = postgres_cluster.binaries()
    if found is None:
        pytest.skip("there is no PostgreSQL server on this machine: install Debian's `postgresql`")
    return found


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest, postgres_cluster: ModuleType) -> Iterator[str]:
    """Yield the address of a PostgreSQL server: the one in SIGNOFF_TEST_POSTGRES, or one of our own."""
    if given := os.environ.get("SIGNOFF_TEST_POSTGRES"):
        yield given
        return
    with postgres_cluster.Cluster(request.getfixturevalue("postgres_binaries")) as cluster:
        yield cluster.address


@pytest.fixture
def postgres_schema(postgres: str) -> Iterator[str]:
    """Yield the name of a schema that is not there yet; what a test makes of it is dropped."""
    name = f"test_{secrets.token_hex(6)}"
    yield name
    _drop(postgres, name)


@pytest.fixture
def postgres_database(postgres: str) -> Iterator[str]:
    """Yield the address of a database that only this test has."""
    import psycopg  # noqa: PLC0415 - most tests do without it
    from psycopg import sql  # noqa: PLC0415 - as above

    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield urlsplit(postgres)._replace(path=f"/{name}").geturl()
        connection.execute(sql.SQL("DROP DATABASE {} (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(name="_shared_schema", scope="session")
def _postgres_shared_schema(postgres: str) -> Iterator[str]:
    name = f"test_{secrets.token_hex(6)}"
    yield name
    _drop(postgres, name)


@pytest.fixture(scope="session")
def empty_postgres_tables(postgres: str) -> Callable[[str], None]:
    """Return what empties the tables of a schema, if there are any; making them anew takes longer."""
    import psycopg  # noqa: PLC0415 - most tests do without it
    from psycopg import sql  # noqa: PLC0415 - as above

    def empty(schema: str) -> None:
        with psycopg.connect(postgres) as connection:
            tables = connection.execute(
                "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace(%s)"
                " AND relkind = 'r' AND relname <> 'signoff_migrations'",
                (schema,),
            ).fetchall()
            connection.execute("SET session_replication_role = replica")
            for (table,) in tables:
                name = sql.Identifier(schema, table)
                connection.execute(sql.SQL("DELETE FROM {}").format(name))

    return empty


@pytest.fixture
def postgres_tables(empty_postgres_tables: Callable[[str], None], _shared_schema: str) -> str:
    """Return the name of a schema whose tables are empty, and may be there."""
    empty_postgres_tables(_shared_schema)
    return _shared_schema


def _drop(address: str, schema: str) -> None:
    import psycopg  # noqa: PLC0415 - most tests do without it
    from psycopg import sql  # noqa: PLC0415 - as above

    with psycopg.connect(address, autocommit=True) as connection:
        name = sql.Identifier(schema)
        connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(name))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure when CI runs: what CI skips, nobody has seen pass."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped in CI: {report.longrepr}"
    return report


def refuse_the_network(event: str, arguments: tuple[object, ...]) -> None:
    """Refuse every connection of this process that leaves the machine."""
    if event != "socket.connect":
        return
    address = arguments[1]
    if isinstance(address, tuple) and not is_loopback(str(address[0])):
        message = f"a test connects to {address[0]}, but tests stay on loopback"
        raise RuntimeError(message)


def is_loopback(host: str) -> bool:
    """Tell whether an address, or the one name that needs no server, is this machine."""
    return host == "localhost" or ipaddress.ip_address(host).is_loopback


def pytest_configure(config: pytest.Config) -> None:
    """Keep tests on loopback, in every run but the one that measures coverage."""
    # With a hook that is written in Python, two threads of Python 3.11 can meet in the middle of
    # getting a tracer, and one of them dies of it.
    if not config.getoption("cov_source", None) and sys.gettrace() is None:
        sys.addaudithook(refuse_the_network)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    Leave what takes minutes to where it belongs.

    What kills and races PostgreSQL servers runs in `nox -s reliability` only, and what crashes
    scenarios in all orders says little about a Python. What kills processes is one group.
    """
    for item in items:
        if item.path.parent == RELIABILITY:
            item.add_marker(pytest.mark.one_python)
        if item.path.parent == CRASH:
            item.add_marker(pytest.mark.xdist_group("kills"))
        if item.get_closest_marker("slow") and "postgres" in item.nodeid:
            item.add_marker(pytest.mark.reliability)
