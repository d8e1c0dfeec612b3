"""Tables exported, imported, merged, and compared; packs by URL."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from nascli.errors import StoreError, missing_package
from nascli.execution import Execution
from nascli.lut import Setup, Store
from nascli.lut.exchange.diff import compare_packs
from nascli.lut.exchange.foreign import registry
from nascli.lut.exchange.packs import combine_packs, describe, import_pack, read_pack, read_store, write_pack
from nascli.pipeline.tables.inventory import _existing
from nascli.pipeline.tables.lookup import stored_setup
from nascli.profiles.target import TargetSpec
from nascli.report.svg import difference_picture
from nascli.units import format_seconds


def export_table(spec: TargetSpec, execution: Execution, out: Path) -> dict[str, Any]:
    """Write the pack of a place's table."""
    with Store(_existing(execution.store)) as store:
        pack = read_store(store, stored_setup(spec, store))
    write_pack(pack, out)
    return describe(pack)


def import_packs(paths: Sequence[Path], store_path: Path) -> list[dict[str, Any]]:
    """Add packs to a store; all are read and checked before the first is added."""
    packs = [(path, read_pack(path)) for path in paths]
    with Store(store_path) as store:
        return [
            {"file": str(path), "new": import_pack(pack, store), **describe(pack)} for path, pack in packs
        ]


def import_foreign_files(
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
    merged = combine_packs([read_pack(path) for path in paths])
    write_pack(merged, out)
    return describe(merged)


def diff_packs(first: Path, second: Path) -> dict[str, Any]:
    """How two packs differ, as a document."""
    comparison = compare_packs(read_pack(first), read_pack(second))
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


def push(spec: TargetSpec, execution: Execution, url: str) -> dict[str, Any]:
    """Write the pack of a place's table to a URL.

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
    return {**describe(pack), "url": url}


def pull(url: str, store_path: Path) -> dict[str, Any]:
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
            raise StoreError(error.message.replace(str(file), url), error.hint) from error
    with Store(store_path) as store:
        new = import_pack(pack, store)
    return {**describe(pack), "url": url, "new": new}
