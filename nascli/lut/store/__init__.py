"""The store: one SQLite file of raw samples that all projects share."""
