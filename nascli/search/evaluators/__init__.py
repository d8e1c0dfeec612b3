"""Evaluators: a user's function or command, and batches here or on Ray."""
