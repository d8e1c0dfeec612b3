"""Measuring on another machine: a plan file is carried there, a pack is brought back.

The other machine needs neither torch nor the space's definition: the plan holds the programs themselves.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nascli.errors import DeviceError, NascliError, Remedy, StoreError
from nascli.execution import Execution
from nascli.files import write_atomically
from nascli.lut import Store
from nascli.lut.exchange.packs import import_pack, read_pack, read_store, write_pack
from nascli.pipeline.measure.profile import ProfileSummary, profile_models, summarise
from nascli.pipeline.measure.subjects import subjects_of
from nascli.pipeline.tables.exchange import PackSummary
from nascli.profiles.protocol import MeasurementProtocol
from nascli.profiles.target import TargetSpec, clock_of
from nascli.progress import Progress, Silent
from nascli.search.evaluators.batched import connect
from nascli.spaces.network import Network
from nascli.spaces.operators.definition import Operator
from nascli.spaces.programs import Program
from nascli.spaces.space import Space

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
            f"{path} is no plan: {place}: {first['msg']}", "Write it again.", Remedy(arguments={"host": None})
        ) from error
    if plan.computed_digest() != plan.digest:
        raise StoreError(f"{path} is damaged: its digest does not match.", "Carry the file over again.")
    return plan


@dataclass(frozen=True)
class WrittenPlan:
    """A plan file, and what it asks for.

    Attributes:
        file: The plan.
        pack: The name of the pack that measuring it gives.
        operators: The number of distinct operators.
        models: The number of models to measure: the operators alone and in context.
    """

    file: Path
    pack: str
    operators: int
    models: int

    def to_json(self) -> dict[str, object]:
        """The plan's file and numbers as a document."""
        return {"plan": str(self.file), "operators": self.operators, "models": self.models}


@dataclass(frozen=True)
class MeasuredPlan:
    """What measuring a plan gave.

    Attributes:
        summary: The table that was measured.
        pack: The pack that was written; None where none was wanted.
    """

    summary: ProfileSummary
    pack: Path | None

    def to_json(self) -> dict[str, object]:
        """The summary as a document, with the pack's file."""
        return {**self.summary.to_json(), "pack": None if self.pack is None else str(self.pack)}


@dataclass(frozen=True)
class ClusterProfile:
    """What a device of a cluster brought.

    Attributes:
        pack: The pack that the device's node sent.
        new: How many of its samples the store did not have.
        store: The store that keeps them now.
    """

    pack: PackSummary
    new: int
    store: Path

    def to_json(self) -> dict[str, object]:
        """The pack as a document, with the number of new samples."""
        return {**self.pack.to_json(), "new": self.new, "store": str(self.store)}


def write_plan(
    profiled: Space | Network, spec: TargetSpec, folder: Path, *, clock: str | None = None
) -> WrittenPlan:
    """Write the plan of a profiling run for another machine.

    Args:
        profiled: The space, or the network whose own layers are meant.
        spec: On which device and how; the device need not be here.
        folder: Where the plan's file is written.
        clock: What the card's clock is held at: a number of MHz, or 'sustained', which the other machine resolves.

    Raises:
        StoreError: The file cannot be written.
    """
    subjects = subjects_of(profiled, spec.batch)
    plan = PlanFile(
        what=subjects.name,
        device=spec.device,
        runtime=spec.runtime,
        batch=spec.batch,
        threads=spec.threads,
        precision=spec.precision,
        cuda_graph=spec.cuda_graph,
        rotate=spec.rotate_inputs,
        clock=clock,
        models=[_Model(label=model.label, program=model.program.canonical) for model in subjects.models],
    ).sealed()
    stem = re.sub(r"[^A-Za-z0-9]+", "-", f"{spec.device}-{subjects.name}").strip("-")
    file = folder / f"{stem}.plan.json"
    try:
        write_atomically(file, plan.model_dump_json().encode())
    except OSError as error:
        raise StoreError(f"cannot write {file}: {error.strerror}") from error
    return WrittenPlan(file, f"{stem}.parquet", subjects.distinct, len(subjects.models))


def _write_partial_pack(spec: TargetSpec, execution: Execution, pack: Path, progress: Progress) -> None:
    """Write what a run that failed has measured."""
    with Store(execution.store) as store:
        try:
            write_pack(read_store(store, spec.resolve(execution).setup()), pack)
        except NascliError as error:
            progress.message(f"no pack: {error.message}")
        else:
            progress.message(f"what was measured is in {pack}")


def run_plan(
    path: Path, pack: Path | None, execution: Execution, *, seed: int = 0, progress: Progress
) -> MeasuredPlan:
    """Measure what a plan file says, and write the pack.

    Args:
        path: The plan.
        pack: The Parquet file to write; None writes none.
        execution: Where measurements are kept.
        seed: The seed of the order in which models are measured.
        progress: Is told how far it is.

    Raises:
        StoreError: The plan is damaged, or the pack cannot be written.
        DeviceError: The device is not here, or failed. What was measured is kept and packed; run again, it goes on.
    """
    plan = read_plan(path)
    spec = plan.target()
    models = plan.operators()
    protocol = MeasurementProtocol()
    progress.message(f"{plan.what}: {len(models)} models by the plan {path.name}")
    try:
        table = profile_models(models, spec, execution, protocol=protocol, seed=seed, progress=progress)
    except DeviceError:
        if pack is not None:
            _write_partial_pack(spec, execution, pack, progress)
        raise
    if pack is not None:
        with Store(execution.store) as store:
            write_pack(read_store(store, table.setup), pack)
    return MeasuredPlan(summarise(models, table, execution, protocol), pack)


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
    profiled: Space | Network,
    spec: TargetSpec,
    execution: Execution,
    *,
    seed: int = 0,
    progress: Progress,
) -> ClusterProfile:
    """Have a device of a Ray cluster measured, and import what it says.

    Args:
        profiled: The space, or the network whose own layers are meant.
        spec: On which device of the cluster, and how.
        execution: Names the cluster (`ray`), and the store that receives the measurements.
        seed: The seed of the order in which models are measured.
        progress: Is told what is measured.

    Raises:
        DeviceError: No node of the cluster has the device.
        RuntimeUnavailableError: There is no cluster.
    """
    ray = connect(execution.ray or "auto")
    name = ray_resource(spec.device)
    if not ray.cluster_resources().get(name):
        known = sorted(r.removeprefix("nascli-") for r in ray.cluster_resources() if r.startswith("nascli-"))
        raise DeviceError(
            f"no node of the cluster has {spec.device}; it has: {', '.join(known) or 'none'}.",
            f"On the machine with the card: ray start --address=... --resources '{{\"{name}\": 1}}'",
        )
    with tempfile.TemporaryDirectory() as folder:
        written = write_plan(profiled, spec, Path(folder))
        progress.message(f"{written.models} models are measured by the cluster's {spec.device}")
        # A node that is lost in the middle: the task is done again on another one that has the device.
        task = ray.remote(num_cpus=0, resources={name: 1}, max_retries=3)(measure_plan)
        pack_file = Path(folder) / "back.parquet"
        pack_file.write_bytes(ray.get(task.remote(written.file.read_bytes(), seed)))
        pack = read_pack(pack_file)
    with Store(execution.store) as store:
        new = import_pack(pack, store)
    return ClusterProfile(PackSummary.of(pack), new, execution.store)
