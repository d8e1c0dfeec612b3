"""Contract suites that third parties can run: algorithms, searchers, cost models, runtimes, stores, and recorders."""
