"""The search spaces of the literature, one file per family."""
