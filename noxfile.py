"""Every check of the project as one command each; `nox -s tests` is all that CI runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_external_run = True
nox.options.reuse_venv = "yes"
nox.options.sessions = ["tests"]

PROJECT = nox.project.load_toml("pyproject.toml")
SUPPORTED = nox.project.python_versions(PROJECT)
AT_HAND = f"{sys.version_info.major}.{sys.version_info.minor}"


def find_python(version: str) -> str | None:
    """Return a Python of this version that really starts, on the PATH or among pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    installed = [str(path) for path in sorted(pyenv.glob(f"{version}*/bin/python"))]
    for python in filter(None, [shutil.which(f"python{version}"), *installed]):
        if subprocess.run([python, "-c", ""], check=False, capture_output=True).returncode == 0:
            return python
    return None


OTHER_PYTHONS = {version: find_python(version) for version in SUPPORTED if version != AT_HAND}


POSTGRES = Path("/usr/lib/postgresql")
POSTGRES_COMMON = Path("/etc/postgresql-common")


def install_postgres(session: nox.Session) -> None:
    """
    Install Debian's PostgreSQL for the tests to start, where root may and it is missing.

    Neither is a cluster made nor a service started; elsewhere the tests say what they skip.
    """
    is_debian = Path("/etc/debian_version").exists() and shutil.which("apt-get") is not None
    at_hand = any(POSTGRES.glob("*/bin/pg_ctl")) or shutil.which("pg_ctl") is not None
    if "SIGNOFF_TEST_POSTGRES" in os.environ or at_hand or not is_debian or os.geteuid() != 0:
        return
    settings = POSTGRES_COMMON / "createcluster.conf"
    if not settings.exists():
        POSTGRES_COMMON.mkdir(parents=True, exist_ok=True)
        settings.write_text("create_main_cluster = false\n")
    silent = {"DEBIAN_FRONTEND": "noninteractive"}
    session.run("apt-get", "update", "-qq", external=True)
    session.run(
        *("apt-get", "install", "-y", "-qq", "--no-install-recommends", "postgresql"),
        *("-o", "Dpkg::Options::=--force-confold"),
        env=silent,
        external=True,
    )


def install(session: nox.Session, *groups: str) -> None:
    """Install the library as it stands in the tree, with these dependency groups."""
    session.install("-e", ".[all,testing]", *nox.project.dependency_groups(PROJECT, *groups))


@nox.session(venv_backend="none")
def tests(session: nox.Session) -> None:
    """Check everything: lint, types, docs, the suite; with arguments, pytest alone with them."""
    checks = ["suite"] if session.posargs else ["lint", "types", "docs", "suite"]
    for version, python in OTHER_PYTHONS.items():
        if python is None:
            session.warn(f"Python {version} is not on this machine: its suite is skipped.")
        elif not session.posargs:
            checks.append(f"suite-{version}")
    for check in checks:
        session.notify(check)


@nox.session
def demo(session: nox.Session) -> None:
    """Run one whole approval by mail; `-- --interactive` waits for you at the terminal."""
    session.install("-e", ".", *nox.project.dependency_groups(PROJECT, "demo"))
    session.run("python", "examples/demo/main.py", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, formatting and the floors."""
    install(session, "lint")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports", "--no-cache")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types with mypy and pyright, both strict."""
    install(session, "types")
    session.run("mypy")
    session.run("pyright")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; a warning is an error."""
    install(session, "docs")
    session.run("sphinx-build", "-nW", "--keep-going", "-q", "docs", "docs/_build")


@nox.session
def suite(session: nox.Session) -> None:
    """Run the suite without its slow tests on the Python at hand, and measure its coverage."""
    install(session, "tests")
    install_postgres(session)
    if session.posargs:
        session.run("pytest", *session.posargs)
    else:
        session.run("coverage", "run", "-m", "pytest", "-m", "not slow")
        session.run("coverage", "report")


def suite_on_another_python(session: nox.Session) -> None:
    """Run the suite without its slow tests on another Python."""
    install(session, "tests")
    install_postgres(session)
    session.run("pytest", "-m", "not slow", *session.posargs)


for _version, _python in OTHER_PYTHONS.items():
    if _python is not None:
        nox.session(suite_on_another_python, python=_python, name=f"suite-{_version}")


@nox.session
def slow(session: nox.Session) -> None:
    """Run the slow tests: workers killed, deciders racing, a crash at every write."""
    install(session, "tests")
    install_postgres(session)
    session.run("pytest", "-m", "slow", *session.posargs)


@nox.session
def mutants(session: nox.Session) -> None:
    """Mutate the rules and the security floor; a survivor needs a written reason."""
    install(session, "mutants")
    shutil.rmtree("mutants", ignore_errors=True)  # mutmut keeps verdicts when only tests changed
    session.run("mutmut", "run", *session.posargs)
    if session.posargs:
        session.run("mutmut", "results")
    else:
        session.run("python", "tests/mutants/check.py")
