"""`python -m signoff`: the command, where it is not on the path (floor 9)."""

from __future__ import annotations

import sys

from signoff.cli import main

sys.exit(main())
