"""Contract suites that third parties can run on their own runtimes, searchers, cost models, stores, and recorders."""
