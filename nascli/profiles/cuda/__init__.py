"""CUDA memory, streams, and events, through whichever package is installed."""
