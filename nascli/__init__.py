"""Hardware-aware latency tables, cost models and neural architecture search under hard budgets.

import nascli, numpy as np

space = nascli.space("proxyless-mini")
table = nascli.profile(space, device="cpu", batch=16)        # measures only what is missing
budget = nascli.constrain(space, "latency=8ms", latency=nascli.latency(space, table))
budget.count()                                               # how many networks fit
codes = budget.sample(1000, np.random.default_rng(0))        # (1000, layers) integers, all fit
result = nascli.search("latency=8ms", data="digits")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nascli.version import __version__

if TYPE_CHECKING:
    from nascli.api import calibrated, constrain, latency, optimise, profile, search, space

__all__ = ["__version__", "calibrated", "constrain", "latency", "optimise", "profile", "search", "space"]


def __getattr__(name: str) -> Any:
    # Nothing is imported before it is used: `nascli --help` must not wait for numpy.
    if name in __all__:
        from nascli import api

        return getattr(api, name)
    raise AttributeError(f"module 'nascli' has no attribute {name!r}")
