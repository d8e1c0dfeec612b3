"""Contract suites: what every runtime, searcher and cost model must do. Third parties may run them."""
