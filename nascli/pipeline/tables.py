"""Jobs on whole tables: packs in and out, comparisons, audits, removal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nascli.errors import StoreError
from nascli.lut import Setup, Store
from nascli.lut.audit import audit
from nascli.lut.exchange.diff import compare
from nascli.lut.exchange.foreign import registry
from nascli.lut.exchange.packs import describe, import_pack, merge, read_pack, read_store, write_pack
from nascli.pipeline.measuring import stored_setup
from nascli.profiles.runtimes.registry import all_runtimes
from nascli.profiles.target import Where
from nascli.report.svg import difference_picture
from nascli.units import format_seconds


def _existing(path: Path) -> Path:
    if not path.exists():
        raise StoreError(f"there is no store at {path} yet.", "Make one: nascli profile --device cpu")
    return path


def export_table(where: Where, out: Path) -> dict[str, Any]:
    """Write the pack of a place's table."""
    with Store(_existing(where.store)) as store:
        pack = read_store(store, stored_setup(where, store))
    write_pack(pack, out)
    return describe(pack)


def import_packs(paths: Sequence[Path], store_path: Path) -> list[dict[str, Any]]:
    """Add packs to a store; all are read and checked before the first is added."""
    packs = [(path, read_pack(path)) for path in paths]
    with Store(store_path) as store:
        return [
            {"file": str(path), "new": import_pack(pack, store), **describe(pack)} for path, pack in packs
        ]


def import_foreign(
    paths: Sequence[Path],
    form: str,
    device: str | None,
    batch: int | None,
    threads: int,
    precision: str,
    runtime: str,
    store_path: Path,
) -> list[dict[str, Any]]:
    """Add tables in another tool's format; all are read and checked before the first is added.

    Raises:
        StoreError: no device or batch is said, or a file that is damaged or impossible.
    """
    tables = [(path, registry.read_foreign(path, form)) for path in paths]
    said = batch or next((table.batch for _, table in tables if table.batch is not None), None)
    if device is None or said is None:
        missing = [name for name, value in (("--device", device), ("--batch", said)) if value is None]
        raise StoreError(
            f"a {form} table does not say {' and '.join(missing)}, and figures without them mean nothing.",
            "Name them, such as: --device titanxp --batch 128",
        )
    if device == "cpu":
        raise StoreError(
            "'cpu' means whatever machine nascli runs on, and a table of another tool is of one machine.",
            "Name it, such as: --device cpu-of-the-lab",
        )
    setup = Setup(device, runtime, f"imported from {form}", precision, said, threads)
    with Store(store_path) as store:
        return registry.import_foreign(tables, setup, form, store)


def draw_diff(document: dict[str, Any], first: str, second: str, path: Path) -> None:
    """Write the picture of a comparison as SVG."""
    points = [(row["first_s"], row["ratio"], row["operator"], row["apart"]) for row in document["rows"]]
    try:
        path.write_text(difference_picture(points, first, second), encoding="utf-8")
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}") from error


def merge_packs(paths: Sequence[Path], out: Path) -> dict[str, Any]:
    """Write several packs of one setup as one."""
    merged = merge([read_pack(path) for path in paths])
    write_pack(merged, out)
    return describe(merged)


def diff_packs(first: Path, second: Path) -> dict[str, Any]:
    """How two packs differ, as a document."""
    comparison = compare(read_pack(first), read_pack(second))
    rows = [
        {
            "operator": row.label,
            "first_s": row.first.seconds,
            "second_s": row.second.seconds,
            "ratio": row.ratio,
            "apart": row.differs,
            "shown": {
                "operator": row.label,
                "first": format_seconds(row.first.seconds),
                "second": format_seconds(row.second.seconds),
                "ratio": f"{row.ratio:.3f}",
                "apart": "yes" if row.differs else "",
            },
        }
        for row in comparison.rows
    ]
    return {
        "setup": comparison.setup,
        "median_ratio": comparison.median_ratio,
        "rows": rows,
        "only_first": comparison.only_first,
        "only_second": comparison.only_second,
    }


def check_store(path: Path) -> list[dict[str, str]]:
    """Audit a store."""
    versions = {name: r.version() for name, r in all_runtimes().items() if r.missing() is None}
    with Store(_existing(path)) as store:
        return [asdict(finding) for finding in audit(store, versions)]


def table_meant(where: Where) -> Setup:
    """The setup of a place's table, which is there.

    Raises:
        StoreError: it is not.
    """
    with Store(_existing(where.store)) as store:
        setup = stored_setup(where, store)
        if setup not in [known for known, _, _ in store.setups()]:
            raise StoreError(f"nothing was measured for {setup.label}.", "See what there is: nascli lut list")
        return setup


def remove_table(store_path: Path, setup: Setup) -> int:
    """Delete a table; returns how many samples it had."""
    with Store(_existing(store_path)) as store:
        return store.remove_setup(setup)
