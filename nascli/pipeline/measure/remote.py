"""Measuring on another machine: a plan file is carried there, a pack is brought back.

The other machine needs neither torch nor the space's definition: the plan holds the programs themselves.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import tempfile
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nascli.errors import DeviceError, NascliError, StoreError
from nascli.execution import Execution
from nascli.files import write_atomically
from nascli.lut import Store
from nascli.lut.exchange.packs import describe, import_pack, read_pack, read_store, write_pack
from nascli.pipeline.measure.profile import profile_models, shown
from nascli.pipeline.measure.subjects import subjects_of
from nascli.profiles.protocol import MeasurementProtocol
from nascli.profiles.target import TargetSpec, clock_of
from nascli.progress import Progress, Silent
from nascli.search.evaluators.batched import connect
from nascli.spaces.operators.definition import Operator
from nascli.spaces.programs import Program

_LARGEST_FILE = 1 << 28


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    label: str = Field(max_length=10_000)
    program: str = Field(max_length=1_000_000)


class PlanFile(BaseModel):
    """What a plan file holds."""

    model_config = ConfigDict(extra="forbid", strict=True)

    format: Literal["nascli-plan"] = "nascli-plan"
    version: Literal[1] = 1
    what: str = Field(max_length=10_000)
    device: str = Field(max_length=200)
    runtime: str = Field(max_length=200)
    batch: int = Field(ge=1, le=1 << 20)
    threads: int = Field(ge=1, le=1 << 12)
    precision: str = Field(max_length=20)
    cuda_graph: bool
    rotate: bool
    clock: str | None = Field(default=None, max_length=20)
    models: list[_Model]
    digest: str = ""

    def sealed(self) -> PlanFile:
        """With the digest of everything else."""
        return self.model_copy(update={"digest": self.computed_digest()})

    def computed_digest(self) -> str:
        """A digest of everything but the digest."""
        document = self.model_dump(exclude={"digest"})
        return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()

    def operators(self) -> list[Operator]:
        """The models as what is measured.

        Raises:
            SpaceError: a program that breaks a rule.
        """
        return [Operator(m.label, (), Program.from_canonical(m.program)) for m in self.models]

    def target(self) -> TargetSpec:
        """The target that the plan is for.

        Raises:
            DeviceError: The plan holds a clock, and the device is not here or is no card.
        """
        return TargetSpec(
            device=self.device,
            runtime=self.runtime,
            precision=self.precision,
            batch=self.batch,
            threads=self.threads,
            cuda_graph=self.cuda_graph,
            rotate_inputs=self.rotate,
            clock_mhz=None if self.clock is None else clock_of(self.clock, self.device),
        )


def read_plan(path: Path) -> PlanFile:
    """Read a plan file and check it.

    Raises:
        StoreError: missing, damaged, or not a plan.
    """
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise StoreError(f"{path} is larger than {_LARGEST_FILE} bytes")
        plan = PlanFile.model_validate_json(path.read_bytes())
    except OSError as error:
        raise StoreError(f"cannot read the plan {path}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the document"
        raise StoreError(
            f"{path} is no plan: {place}: {first['msg']}", "Write it again with --host."
        ) from error
    if plan.computed_digest() != plan.digest:
        raise StoreError(f"{path} is damaged: its digest does not match.", "Carry the file over again.")
    return plan


def write_plan(
    space: str, network: Path | None, spec: TargetSpec, host: str, folder: Path, clock: str | None = None
) -> dict[str, Any]:
    """Write the plan of a profiling run for another machine; `clock` is what its card is held at, as a user says it.

    Returns:
        the file, and the commands that carry it there, measure, and bring the pack back.

    Raises:
        StoreError: the file cannot be written.
    """
    name, distinct, models = subjects_of(space, network)
    plan = PlanFile(
        what=name,
        device=spec.device,
        runtime=spec.runtime,
        batch=spec.batch,
        threads=spec.threads,
        precision=spec.precision,
        cuda_graph=spec.cuda_graph,
        rotate=spec.rotate_inputs,
        clock=clock,
        models=[_Model(label=model.label, program=model.program.canonical) for model in models],
    ).sealed()
    stem = re.sub(r"[^A-Za-z0-9]+", "-", f"{spec.device}-{name}").strip("-")
    file, pack = folder / f"{stem}.plan.json", f"{stem}.parquet"
    try:
        write_atomically(file, plan.model_dump_json().encode())
    except OSError as error:
        raise StoreError(f"cannot write {file}: {error.strerror}") from error
    there = shlex.quote(host)
    return {
        "plan": str(file),
        "operators": distinct,
        "models": len(models),
        "commands": [
            f"scp {shlex.quote(str(file))} {there}:",
            f"ssh {there} nascli profile --plan {file.name} --pack {pack}",
            f"scp {there}:{pack} .",
            f"nascli lut import {pack}",
        ],
    }


def _pack_what_there_is(spec: TargetSpec, execution: Execution, pack: Path, progress: Progress) -> None:
    with Store(execution.store) as store:
        try:
            write_pack(read_store(store, spec.resolve(execution).setup()), pack)
        except NascliError as error:
            progress.message(f"no pack: {error.message}")
        else:
            progress.message(f"what was measured is in {pack}")


def run_plan(
    path: Path, pack: Path | None, execution: Execution, *, seed: int, progress: Progress
) -> dict[str, Any]:
    """Measure what a plan file says, and write the pack.

    Raises:
        StoreError: a damaged plan; a pack that cannot be written.
        DeviceError: as `profile`; what was measured is kept, and run again it goes on.
    """
    plan = read_plan(path)
    spec = plan.target()
    models = plan.operators()
    protocol = MeasurementProtocol()
    progress.message(f"{plan.what}: {len(models)} models by the plan {path.name}")
    try:
        table = profile_models(models, spec, execution, protocol=protocol, seed=seed, progress=progress)
    except DeviceError:
        # What was refused or cut off is told, and what was measured is brought back all the same.
        if pack is not None:
            _pack_what_there_is(spec, execution, pack, progress)
        raise
    if pack is not None:
        with Store(execution.store) as store:
            write_pack(read_store(store, table.setup), pack)
    return {**shown(models, table, spec, execution, protocol), "pack": None if pack is None else str(pack)}


def ray_resource(device: str) -> str:
    """What a node's device is called among Ray's resources."""
    return f"nascli-{device.partition(':')[0]}"


def measure_plan(plan: bytes, seed: int) -> bytes:
    """On the node: measure a plan into that node's own store; returns the pack."""
    with tempfile.TemporaryDirectory() as folder:
        file, pack = Path(folder) / "plan.json", Path(folder) / "pack.parquet"
        file.write_bytes(plan)
        run_plan(file, pack, Execution(), seed=seed, progress=Silent())
        return pack.read_bytes()


def profile_on_ray(
    space: str,
    network: Path | None,
    spec: TargetSpec,
    execution: Execution,
    address: str,
    *,
    seed: int,
    progress: Progress,
) -> dict[str, Any]:
    """Have a device of the cluster measured, and import what it says.

    Raises:
        DeviceError: no node of the cluster has the device.
        RuntimeUnavailableError: no cluster.
    """
    ray = connect(address)
    name = ray_resource(spec.device)
    if not ray.cluster_resources().get(name):
        known = sorted(r.removeprefix("nascli-") for r in ray.cluster_resources() if r.startswith("nascli-"))
        raise DeviceError(
            f"no node of the cluster has {spec.device}; it has: {', '.join(known) or 'none'}.",
            f"On the machine with the card: ray start --address=... --resources '{{\"{name}\": 1}}'",
        )
    with tempfile.TemporaryDirectory() as folder:
        written = write_plan(space, network, spec, "ray", Path(folder))
        plan = Path(written["plan"]).read_bytes()
        progress.message(f"{written['models']} models are measured by the cluster's {spec.device}")
        # A node that is lost in the middle: the task is done again on another one that has the device.
        task = ray.remote(num_cpus=0, resources={name: 1}, max_retries=3)(measure_plan)
        pack_file = Path(folder) / "back.parquet"
        pack_file.write_bytes(ray.get(task.remote(plan, seed)))
        pack = read_pack(pack_file)
    with Store(execution.store) as store:
        new = import_pack(pack, store)
    return {**describe(pack), "new": new, "store": str(execution.store)}
