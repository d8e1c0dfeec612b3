"""Runtimes: one file or folder each."""
