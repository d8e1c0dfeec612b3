"""The search spaces of the literature, one module per family."""
