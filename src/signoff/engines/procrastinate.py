"""
The engine for workers on many machines, of the extra `distributed` (floor 4).

Named apart from `signoff.engines`, because Procrastinate need not be installed.
"""

from __future__ import annotations

try:
    from signoff.engines.procrastinate_engine import ProcrastinateEngine
except ImportError as error:
    from signoff.errors import ConfigurationError

    raise ConfigurationError(
        "ProcrastinateEngine needs procrastinate: pip install 'signoff[distributed]'"
    ) from error

__all__ = ["ProcrastinateEngine"]
