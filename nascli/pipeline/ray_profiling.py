"""Profiling farms: each device of a Ray cluster measures what is asked of it; the results come into one store.

A node that has a device says so when it joins the cluster:
``ray start --address=HEAD:6379 --resources '{"nascli-titanxp": 1}'``. One of a kind is given to one task at a time,
so a device never measures two things at once.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from nascli.errors import DeviceError
from nascli.lut import Store
from nascli.lut.exchange.packs import describe, import_pack, read_pack
from nascli.paths import default_store
from nascli.pipeline.remote import run_plan, write_plan
from nascli.profiles.target import Where
from nascli.progress import Progress, Silent
from nascli.search.evaluators.batched import connect


def resource(device: str) -> str:
    """What a node's device is called among Ray's resources."""
    return f"nascli-{device.partition(':')[0]}"


def measure_plan(plan: bytes, here: str, seed: int) -> bytes:
    """On the node: measure a plan into that node's own store; returns the pack."""
    with tempfile.TemporaryDirectory() as folder:
        file, pack = Path(folder) / "plan.json", Path(folder) / "pack.parquet"
        file.write_bytes(plan)
        place = Where(here, "auto", 1, 1, "fp32", default_store())
        run_plan(file, pack, place, seed=seed, progress=Silent())
        return pack.read_bytes()


def profile_on_ray(
    space: str, network: Path | None, where: Where, address: str, *, seed: int, progress: Progress
) -> dict[str, Any]:
    """Have a device of the cluster measured, and import what it says.

    Raises:
        DeviceError: no node of the cluster has the device.
        RuntimeUnavailableError: no cluster.
    """
    ray = connect(address)
    name = resource(where.device)
    if not ray.cluster_resources().get(name):
        known = sorted(r.removeprefix("nascli-") for r in ray.cluster_resources() if r.startswith("nascli-"))
        raise DeviceError(
            f"no node of the cluster has {where.device}; it has: {', '.join(known) or 'none'}.",
            f"On the machine with the card: ray start --address=... --resources '{{\"{name}\": 1}}'",
        )
    with tempfile.TemporaryDirectory() as folder:
        written = write_plan(space, network, where, "ray", Path(folder))
        plan = Path(written["plan"]).read_bytes()
        progress.message(f"{written['models']} models are measured by the cluster's {where.device}")
        # A node that is lost in the middle: the task is done again on another one that has the device.
        task = ray.remote(num_cpus=0, resources={name: 1}, max_retries=3)(measure_plan)
        pack_file = Path(folder) / "back.parquet"
        pack_file.write_bytes(ray.get(task.remote(plan, where.device, seed)))
        pack = read_pack(pack_file)
    with Store(where.store) as store:
        new = import_pack(pack, store)
    return {**describe(pack), "new": new, "store": str(where.store)}
