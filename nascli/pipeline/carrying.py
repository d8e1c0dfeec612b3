"""Packs by URL: pushed to and pulled from a folder, a web server or a bucket, through fsspec."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from nascli.errors import StoreError, missing_package
from nascli.lut import Store
from nascli.lut.exchange.packs import describe, import_pack, read_pack, read_store, write_pack
from nascli.pipeline.measuring import stored_setup
from nascli.profiles.target import Where

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


def push(where: Where, url: str) -> dict[str, Any]:
    """Write the pack of a place's table to a URL.

    Raises:
        StoreError: nothing was measured there, no such kind of URL, or it cannot be written.
    """
    system, path = _opened(url)
    with Store(where.store) as store:
        pack = read_store(store, stored_setup(where, store))
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
