"""Tables exported, imported, merged, and compared; packs by URL."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from nascli.errors import Remedy, StoreError, missing_package
from nascli.execution import Execution
from nascli.lut import Setup, Store
from nascli.lut.exchange.diff import OperatorDifference, compare_packs
from nascli.lut.exchange.foreign import registry
from nascli.lut.exchange.packs import Pack, combine_packs, import_pack, read_pack, read_store, write_pack
from nascli.pipeline.tables.inventory import existing_store
from nascli.pipeline.tables.lookup import stored_setup
from nascli.profiles.target import TargetSpec
from nascli.report.difference_picture import RatioPoint, difference_picture


@dataclass(frozen=True)
class PackSummary:
    """What a pack holds.

    Attributes:
        setup: What its figures depend on besides the operator.
        facts: What was recorded of the device.
        operators: How many operators it has.
        samples: How many samples.
    """

    setup: Setup
    facts: Mapping[str, str]
    operators: int
    samples: int

    @classmethod
    def of(cls, pack: Pack) -> PackSummary:
        """The summary of a pack."""
        return cls(pack.setup, pack.facts, len(pack.operators), pack.count)

    def to_json(self) -> dict[str, object]:
        """The summary as a document."""
        return {
            "setup": self.setup.to_json(),
            "facts": dict(self.facts),
            "operators": self.operators,
            "samples": self.samples,
        }


@dataclass(frozen=True)
class ImportSummary:
    """What one file brought into a store.

    Attributes:
        file: The file.
        operators: How many operators it has.
        samples: How many samples.
        new: How many of the samples the store did not have.
        pack: The pack that it is; None for a table of another tool.
        left_out: What of another tool's table was not understood; empty where everything was.
    """

    file: Path
    operators: int
    samples: int
    new: int
    pack: PackSummary | None = None
    left_out: str = ""

    def to_json(self) -> dict[str, object]:
        """The summary as a document."""
        if self.pack is not None:
            return {"file": str(self.file), "new": self.new, **self.pack.to_json()}
        return {
            "file": str(self.file),
            "operators": self.operators,
            "samples": self.samples,
            "new": self.new,
            "left_out": self.left_out,
        }


@dataclass(frozen=True)
class PackTransfer:
    """A pack that went to a URL, or came from one.

    Attributes:
        pack: What it holds.
        url: The URL.
        new: How many of its samples the store did not have; None for a pack that went out.
    """

    pack: PackSummary
    url: str
    new: int | None = None

    def to_json(self) -> dict[str, object]:
        """The transfer as a document."""
        document = {**self.pack.to_json(), "url": self.url}
        return document if self.new is None else document | {"new": self.new}


@dataclass(frozen=True)
class TableDifference:
    """How two packs differ.

    Attributes:
        setup: In which fields their setups differ, with both values.
        median_ratio: The median over operators of the second latency over the first.
        rows: The operators in both, largest change first.
        only_first: The operators that the second pack lacks.
        only_second: The operators that the first pack lacks.
    """

    setup: tuple[str, ...]
    median_ratio: float
    rows: tuple[OperatorDifference, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """The difference as a document."""
        return {
            "setup": list(self.setup),
            "median_ratio": self.median_ratio,
            "rows": [
                {
                    "operator": row.label,
                    "first_s": row.first.seconds,
                    "second_s": row.second.seconds,
                    "ratio": row.ratio,
                    "apart": row.differs,
                }
                for row in self.rows
            ],
            "only_first": list(self.only_first),
            "only_second": list(self.only_second),
        }


def export_table(spec: TargetSpec, execution: Execution, out: Path) -> PackSummary:
    """Write the table of a target into a pack.

    Raises:
        StoreError: There is no such table, or the file cannot be written.
    """
    with Store(existing_store(execution.store)) as store:
        pack = read_store(store, stored_setup(spec, store))
    write_pack(pack, out)
    return PackSummary.of(pack)


def import_packs(paths: Sequence[Path], store_path: Path) -> list[ImportSummary]:
    """Add packs to a store; all are read and checked before the first is added.

    Raises:
        StoreError: A pack is damaged; nothing is added then.
    """
    packs = [(path, read_pack(path)) for path in paths]
    with Store(store_path) as store:
        return [
            ImportSummary(
                path, len(pack.operators), pack.count, import_pack(pack, store), PackSummary.of(pack)
            )
            for path, pack in packs
        ]


def import_foreign_files(
    paths: Sequence[Path],
    form: str,
    store_path: Path,
    *,
    device: str | None = None,
    batch: int | None = None,
    threads: int = 1,
    precision: str = "fp32",
    runtime: str = "unknown",
) -> list[ImportSummary]:
    """Add tables in another tool's format to a store; all are read and checked before the first is added.

    Args:
        paths: The tables; several of the same operators are several samples.
        form: The name of the format.
        store_path: The store's file.
        device: The device that they were measured on, which such tables do not say.
        batch: Samples per run, where the tables do not say it.
        threads: Threads inside one operator.
        precision: The precision that was measured.
        runtime: What the other tool measured with.

    Raises:
        UnknownNameError: There is no such format.
        StoreError: Device or batch is not known, or a file is damaged or impossible.
    """
    tables = [(path, registry.read_foreign(path, form)) for path in paths]
    known_batch = batch or next((table.batch for _, table in tables if table.batch is not None), None)
    if device is None or known_batch is None:
        missing = [name for name, value in (("device", device), ("batch", known_batch)) if value is None]
        raise StoreError(
            f"a {form} table does not say its {' and its '.join(missing)}, and figures without them mean nothing.",
            "Name them.",
            Remedy(arguments={"device": "titanxp", "batch": 128}),
        )
    if device == "cpu":
        raise StoreError(
            "'cpu' means whatever machine nascli runs on, and a table of another tool is of one machine.",
            "Name it.",
            Remedy(arguments={"device": "cpu-of-the-lab"}),
        )
    setup = Setup(device, runtime, f"imported from {form}", precision, known_batch, threads)
    with Store(store_path) as store:
        documents = registry.import_foreign(tables, setup, form, store)
    return [
        ImportSummary(
            Path(row["file"]), row["operators"], row["samples"], row["new"], left_out=row["left_out"]
        )
        for row in documents
    ]


def draw_difference(difference: TableDifference, first: str, second: str, path: Path) -> None:
    """Write the picture of a difference as SVG.

    Args:
        difference: What to draw.
        first: The name of the first pack.
        second: The name of the second.
        path: The file to write.

    Raises:
        StoreError: The file cannot be written.
    """
    points = [RatioPoint(row.label, row.first.seconds, row.ratio, row.differs) for row in difference.rows]
    try:
        path.write_text(difference_picture(points, first, second), encoding="utf-8")
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}") from error


def merge_packs(paths: Sequence[Path], out: Path) -> PackSummary:
    """Write several packs of one setup as one.

    Raises:
        StoreError: The packs differ in their setups, one is damaged, or the file cannot be written.
    """
    merged = combine_packs([read_pack(path) for path in paths])
    write_pack(merged, out)
    return PackSummary.of(merged)


def diff_packs(first: Path, second: Path) -> TableDifference:
    """How two packs differ.

    Raises:
        StoreError: A pack is damaged, or they have no operator in common.
    """
    comparison = compare_packs(read_pack(first), read_pack(second))
    return TableDifference(
        setup=tuple(comparison.setup),
        median_ratio=comparison.median_ratio,
        rows=tuple(comparison.rows),
        only_first=tuple(comparison.only_first),
        only_second=tuple(comparison.only_second),
    )


# What fsspec could open besides (archives in archives, other people's repositories) has no business here.
SCHEMES = ("file", "http", "https", "s3", "gs")
_LARGEST = 1 << 31


def _opened(url: str) -> tuple[Any, str]:
    scheme = urlsplit(url).scheme
    if scheme not in SCHEMES or "::" in url:
        raise StoreError(
            f"{url} is no place for packs: a URL begins with one of {', '.join(s + '://' for s in SCHEMES)}."
        )
    try:
        import fsspec
    except ImportError as error:
        raise missing_package("fsspec", "cloud", "packs by URL") from error
    try:
        found, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        package = {"s3": "s3fs", "gs": "gcsfs"}.get(scheme, "aiohttp")
        raise missing_package(package, "cloud", f"{scheme}:// URLs") from error
    return found, path


def push(spec: TargetSpec, execution: Execution, url: str) -> PackTransfer:
    """Write the table of a target to a URL.

    Raises:
        StoreError: nothing was measured there, no such kind of URL, or it cannot be written.
    """
    system, path = _opened(url)
    with Store(execution.store) as store:
        pack = read_store(store, stored_setup(spec, store))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pack.parquet"
        write_pack(pack, file)
        try:
            if urlsplit(url).scheme == "file":
                system.makedirs(str(Path(path).parent), exist_ok=True)
            system.put_file(str(file), path)
        # Every kind of server has errors of its own.
        except Exception as error:
            raise StoreError(
                f"cannot write {url}: {type(error).__name__}: {error}",
                "Web servers are read-only here: push to a folder or a bucket."
                if "http" in url[:5]
                else None,
            ) from error
    return PackTransfer(PackSummary.of(pack), url)


def pull(url: str, store_path: Path) -> PackTransfer:
    """Import the pack at a URL. Its digest is checked before anything is added; nothing in it is executed.

    Raises:
        StoreError: no such kind of URL, nothing there, too large, or damaged.
    """
    system, path = _opened(url)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pack.parquet"
        try:
            size = system.info(path).get("size")
            if size is not None and size > _LARGEST:
                raise StoreError(f"{url} is larger than {_LARGEST} bytes")
            system.get_file(path, str(file))
        except StoreError:
            raise
        except Exception as error:
            raise StoreError(f"cannot read {url}: {type(error).__name__}: {error}") from error
        try:
            pack = read_pack(file)
        except StoreError as error:
            message = error.message.replace(str(file), url)
            raise StoreError(message, error.hint, *error.remedies) from error
    with Store(store_path) as store:
        new = import_pack(pack, store)
    return PackTransfer(PackSummary.of(pack), url, new)
