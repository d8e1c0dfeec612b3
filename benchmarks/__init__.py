"""The scripts behind the figures in the documents: `python -m benchmarks.NAME [--quick]`."""
