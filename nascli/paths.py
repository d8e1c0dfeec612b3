"""Where nascli keeps what outlives a project."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_data_path


def home() -> Path:
    """The folder of the store and of trained supernets; the variable NASCLI_HOME moves it."""
    moved = os.environ.get("NASCLI_HOME")
    return Path(moved).expanduser() if moved else user_data_path("nascli", appauthor=False)


def default_store() -> Path:
    """The SQLite file that all projects share."""
    return home() / "store.sqlite"
