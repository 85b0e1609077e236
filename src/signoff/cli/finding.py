"""The client that a command line names as `module:attribute` (floor 9)."""

from __future__ import annotations

import importlib
import inspect
import sys
import traceback
from pathlib import Path

from signoff.client import Client


class UsageError(Exception):
    """Something was asked for wrongly; the message says what, and what to do."""


def find_client(name: str) -> Client:
    """
    Import a module from the working folder or the path, and return the client in it.

    Args:
        name: `module:attribute`; the attribute is a `Client`, or is called without arguments and
            returns one. Dots lead into it.

    Raises:
        UsageError: There is no such thing; the message says what is there instead.
    """
    module_name, colon, path = name.partition(":")
    if not (module_name and colon and path):
        raise UsageError(
            f"{name!r} names no client; write module:attribute, such as shop.work:client"
        )
    found = _attribute(_imported(module_name), path, module_name)
    if inspect.iscoroutinefunction(found):
        raise UsageError(
            f"{name} is a coroutine function, and a worker needs a signoff.Client, or a function"
            " without async that takes no arguments and returns one"
        )
    if callable(found) and not isinstance(found, Client):
        found = _called(found, name)
    if not isinstance(found, Client):
        raise UsageError(
            f"{name} is {_kind(found)}, and a worker needs a signoff.Client, or a function that"
            " takes no arguments and returns one"
        )
    return found


def _imported(name: str) -> object:
    here = str(Path.cwd())
    # The console script's own folder is there instead, where nobody keeps a program.
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise UsageError(
                f"there is no module {error.name!r} in {here} or on the path; start the worker in"
                " the folder of your program, set PYTHONPATH, or install the program"
            ) from None
        raise _of_the_program(f"importing {name}", error) from error
    except Exception as error:
        raise _of_the_program(f"importing {name}", error) from error


def _attribute(module: object, path: str, module_name: str) -> object:
    found, place = module, module_name
    for part in path.split("."):
        if not hasattr(found, part):
            there = sorted(key for key, value in vars(module).items() if isinstance(value, Client))
            instead = f"; its clients are {', '.join(there)}" if there else ""
            raise UsageError(f"{place} has no attribute {part!r}{instead}")
        found, place = getattr(found, part), f"{place}.{part}"
    return found


def _called(make: object, name: str) -> object:
    try:
        return make()  # type: ignore[operator]  # whoever calls this has seen that it is callable
    except Exception as error:
        raise _of_the_program(f"calling {name}", error) from error


def _of_the_program(doing: str, error: Exception) -> UsageError:
    """Show where the user's own program failed, and return what is said of it."""
    traceback.print_exception(error)
    return UsageError(f"{doing} failed: {type(error).__name__}: {error}")


def _kind(found: object) -> str:
    return f"the class {found.__qualname__}" if isinstance(found, type) else repr(found)
