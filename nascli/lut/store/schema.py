"""The store's SQLite schema, its versions, and the steps from one to the next.

Version 1: setups, operators, samples. Version 2 adds generations (an operator measured anew keeps its old
samples), the time a burst spent waiting for a core, visits and rounds (what the machine was like before,
during and after), and which architecture of which space a measured network is. Version 3 adds the mode to
what identifies a setup, whether a card was slowed down, its state round by round, what a runtime tells of a
loaded model, and builders' timing caches. Raw bursts only; every statistic is derived on reading.
"""

from __future__ import annotations

VERSION = 3
# Marks the file as ours: the letters NASC.
APPLICATION_ID = 0x4E415343

# Statements that lead from the version before to the one that is the key; 0 is an empty file.
STEPS: dict[int, str] = {
    1: """
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
""",
    2: """
ALTER TABLE samples ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;

ALTER TABLE samples ADD COLUMN waited REAL;

CREATE TABLE visits (
    id INTEGER PRIMARY KEY,
    setup INTEGER NOT NULL REFERENCES setups (id),
    began_at REAL NOT NULL,
    ended_at REAL,
    before TEXT NOT NULL,
    after TEXT
) STRICT;

CREATE TABLE rounds (
    visit INTEGER NOT NULL REFERENCES visits (id),
    number INTEGER NOT NULL,
    began_at REAL NOT NULL,
    seconds REAL NOT NULL,
    bursts INTEGER NOT NULL,
    steal REAL,
    elsewhere REAL,
    pressure REAL,
    PRIMARY KEY (visit, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE networks (
    operator TEXT NOT NULL REFERENCES operators (key),
    space TEXT NOT NULL,
    codes TEXT NOT NULL,
    PRIMARY KEY (operator, space)
) STRICT, WITHOUT ROWID;
""",
    # What identifies a setup is a constraint of the table, and SQLite changes those by a new table only.
    3: """
CREATE TABLE newer_setups (
    id INTEGER PRIMARY KEY,
    device TEXT NOT NULL,
    runtime TEXT NOT NULL,
    runtime_version TEXT NOT NULL,
    precision TEXT NOT NULL,
    batch INTEGER NOT NULL,
    threads INTEGER NOT NULL,
    mode TEXT NOT NULL DEFAULT '',
    facts TEXT NOT NULL,
    UNIQUE (device, runtime, runtime_version, precision, batch, threads, mode)
) STRICT;

INSERT INTO newer_setups (id, device, runtime, runtime_version, precision, batch, threads, facts)
    SELECT id, device, runtime, runtime_version, precision, batch, threads, facts FROM setups;

DROP TABLE setups;

ALTER TABLE newer_setups RENAME TO setups;

ALTER TABLE samples ADD COLUMN throttled INTEGER NOT NULL DEFAULT 0;

ALTER TABLE rounds ADD COLUMN card TEXT;

CREATE TABLE notes (
    setup INTEGER NOT NULL REFERENCES setups (id),
    operator TEXT NOT NULL REFERENCES operators (key),
    document TEXT NOT NULL,
    PRIMARY KEY (setup, operator)
) STRICT, WITHOUT ROWID;

CREATE TABLE timing_caches (
    device TEXT NOT NULL,
    runtime TEXT NOT NULL,
    runtime_version TEXT NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (device, runtime, runtime_version)
) STRICT;
""",
}


def statements(version: int) -> list[str]:
    """The statements of one step, each on its own."""
    return [statement for statement in STEPS[version].split(";") if statement.strip()]
