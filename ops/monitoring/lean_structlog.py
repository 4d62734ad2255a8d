"""Imports structlog without rich and asyncio; a module that imports structlog before this one gets all.

structlog imports rich if it is installed, for tracebacks that our log does not use: 4 MB and a tenth of the CPU of
a start; and asyncio, for methods that nobody calls here: 1.5 MB and 18 ms.
"""

import importlib
import sys
from types import ModuleType


def _real(name: str) -> object:
    return getattr(importlib.import_module("asyncio"), name)


_unused = ModuleType("asyncio", "stands for asyncio until somebody uses it")
_unused.__getattr__ = _real  # type: ignore[method-assign]
# A None in sys.modules makes an import fail as if the module were not installed.
_hidden = {"rich.console": None, "rich.pretty": None, "asyncio": _unused}
_hidden = {name: module for name, module in _hidden.items() if name not in sys.modules}
sys.modules.update(_hidden)  # type: ignore[arg-type]
try:
    import structlog
finally:
    for _name in _hidden:
        del sys.modules[_name]

__all__ = ["structlog"]
