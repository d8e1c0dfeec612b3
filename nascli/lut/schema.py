"""The store's SQLite schema and its versions.

Version 1: setups, operators, samples, anchors. Raw bursts only; every statistic is derived on reading.
"""

from __future__ import annotations

VERSION = 1
# Marks the file as ours: the letters NASC.
APPLICATION_ID = 0x4E415343

TABLES = """
CREATE TABLE setups (
    id INTEGER PRIMARY KEY,
    device TEXT NOT NULL,
    runtime TEXT NOT NULL,
    runtime_version TEXT NOT NULL,
    precision TEXT NOT NULL,
    batch INTEGER NOT NULL,
    threads INTEGER NOT NULL,
    facts TEXT NOT NULL,
    UNIQUE (device, runtime, runtime_version, precision, batch, threads)
) STRICT;

CREATE TABLE operators (
    key TEXT PRIMARY KEY,
    label TEXT NOT NULL,
    program TEXT NOT NULL,
    macs INTEGER NOT NULL,
    params INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE samples (
    setup INTEGER NOT NULL REFERENCES setups (id),
    operator TEXT NOT NULL REFERENCES operators (key),
    round INTEGER NOT NULL CHECK (round >= 0),
    anchor REAL NOT NULL CHECK (anchor > 0),
    seconds BLOB NOT NULL,
    taken_at REAL NOT NULL,
    PRIMARY KEY (setup, operator, round)
) STRICT, WITHOUT ROWID;
"""
