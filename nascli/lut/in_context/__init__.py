"""Operators measured inside a network: their neighbours, and the joins of branches."""
