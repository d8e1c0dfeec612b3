"""Searchers that ask for architectures and learn their scores: random, evolution, guided."""
