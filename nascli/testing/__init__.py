"""Contract suites: what every runtime, searcher, cost model and store must do. Third parties may run them."""
