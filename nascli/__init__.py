"""Hardware-aware latency tables, cost models and neural architecture search under hard budgets.

import nascli, numpy as np

space = nascli.space("proxyless-mini")
table = nascli.profile(space, device="cpu", batch=16)        # measures only what is missing
cost = nascli.latency(space, table)                          # architectures to seconds per batch
budget = nascli.constrain(space, "latency=8ms", latency=cost)
budget.count()                                               # how many networks fit
codes = budget.sample(1000, np.random.default_rng(0))        # (1000, layers) integers, all fit
result = nascli.search(space, budget, data="digits", seed=0)
result.latency, result.top1, result.network                  # measured seconds, accuracy, torch module
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from nascli.version import __version__

if TYPE_CHECKING:
    from nascli.api import (
        breakdown,
        calibrate,
        constrain,
        latency,
        measure,
        optimise,
        predict,
        profile,
        search,
        space,
        train,
    )

__all__ = [
    "__version__",
    "breakdown",
    "calibrate",
    "constrain",
    "latency",
    "measure",
    "optimise",
    "predict",
    "profile",
    "search",
    "space",
    "train",
]


class _SearchPackage(ModuleType):
    # The subpackage `search`, which is also the function of that name: `inspect.signature` and `help` show the
    # function's signature and documentation. The function is imported when it is first asked for.

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self.__wrapped__(*args, **options)

    @property
    def __wrapped__(self) -> Any:
        from nascli import api

        return api.search

    @property
    def __signature__(self) -> Any:
        import inspect

        return inspect.signature(self.__wrapped__)

    @property
    def __doc__(self) -> str | None:  # type: ignore[override]
        documentation: str | None = self.__wrapped__.__doc__
        return documentation


class _Package(ModuleType):
    """This package. Importing a subpackage binds its name here, and would hide the function `search`."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "search" and isinstance(value, ModuleType):
            value.__class__ = _SearchPackage
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package

if not TYPE_CHECKING:
    # Type checkers see the functions themselves, and tell of names that do not exist.

    def __getattr__(name: str) -> Any:
        # Nothing is imported before it is used: `nascli --help` must not wait for numpy.
        if name == "search":
            return importlib.import_module("nascli.search")
        if name in __all__:
            from nascli import api

            return getattr(api, name)
        raise AttributeError(f"module 'nascli' has no attribute {name!r}")
