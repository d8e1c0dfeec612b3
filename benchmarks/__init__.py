"""The figures that the README quotes: `python -m benchmarks.NAME [--quick]`."""
