"""Imports structlog without rich; a module that imports structlog before this one gets both.

structlog imports rich if it is installed, for tracebacks that our log does not use: a tenth of the CPU of a start,
and 4 MB. A None in sys.modules makes an import fail as if the module were not installed.
"""

import sys

_hidden = {"rich.console", "rich.pretty"} - sys.modules.keys()
for _name in _hidden:
    sys.modules[_name] = None  # type: ignore[assignment]
try:
    import structlog
finally:
    for _name in _hidden:
        del sys.modules[_name]

__all__ = ["structlog"]
