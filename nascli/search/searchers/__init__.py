"""Searchers that ask for architectures and learn from their scores: random, evolution, guided."""
