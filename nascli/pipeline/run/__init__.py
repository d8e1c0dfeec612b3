"""The job of a search, from its settings to its report."""
