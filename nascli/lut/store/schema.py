"""The store's SQLite schema, its versions, and the steps from one to the next.

Version 1 has setups, operators, and samples. Version 2 adds generations (an operator measured anew keeps its old
samples), the time during which a burst waited for a core, visits and rounds (the state of the machine before,
during, and after measuring), and networks (the architecture and space of a measured network). Version 3 adds the
mode to what identifies a setup, whether a card was slowed down, the state of the card in each round, what a runtime
reports about a loaded model, and the timing caches of builders. Samples are raw bursts; every statistic is derived
on reading.
"""

from __future__ import annotations

VERSION = 3
# Marks an SQLite file as a store of nascli: the letters NASC.
APPLICATION_ID = 0x4E415343

# The statements that upgrade a file by one version, by the version that they lead to. Version 0 is an empty file.
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
    # What identifies a setup is a constraint of its table, which SQLite changes only by making a new table.
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
    """Return the statements of the step that leads to a version, one by one."""
    return [statement for statement in STEPS[version].split(";") if statement.strip()]
