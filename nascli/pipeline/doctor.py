"""What works on this machine, and what to install for more."""

from __future__ import annotations

import importlib.metadata
import platform
from dataclasses import dataclass

from nascli.paths import default_store, home
from nascli.profiles.advice import of_machine
from nascli.profiles.devices import this_cpu
from nascli.profiles.runtimes import all_runtimes


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    works: bool
    detail: str
    advice: str = ""


def _package(name: str, extra: str, purpose: str) -> Check:
    try:
        return Check(purpose, True, f"{name} {importlib.metadata.version(name)}")
    except importlib.metadata.PackageNotFoundError:
        return Check(purpose, False, f"{name} is not installed", f"pip install 'nascli[{extra}]'")


def examine() -> list[Check]:
    """Look at interpreter, device, runtimes, optional packages and the store."""
    cpu = this_cpu()
    checks = [
        Check("python", True, f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        Check("device cpu", True, f"{cpu.title}, {cpu.cores} cores ({cpu.key})"),
    ]
    for runtime in all_runtimes().values():
        missing = runtime.missing()
        if missing is None:
            checks.append(Check(f"runtime {runtime.name}", True, runtime.version()))
        else:
            detail, _, advice = missing.partition(": ")
            checks.append(Check(f"runtime {runtime.name}", False, detail, advice))
    checks.append(_package("torch", "search", "training"))
    checks.append(_package("scikit-learn", "search", "data set digits"))
    checks.append(_store())
    noise = of_machine()
    checks += [Check("quiet enough to measure", False, advice.what, advice.do) for advice in noise]
    if not noise:
        checks.append(Check("quiet enough to measure", True, "nothing disturbing was found"))
    return checks


def _store() -> Check:
    path = default_store()
    if not path.exists():
        return Check("store", True, f"{path} (made when first needed)")
    from nascli.errors import StoreError
    from nascli.lut import Store

    try:
        with Store(path) as store:
            tables = store.setups()
    except StoreError as error:
        return Check("store", False, error.message, error.hint or "")
    return Check("store", True, f"{path}, {len(tables)} table(s); home is {home()}")
