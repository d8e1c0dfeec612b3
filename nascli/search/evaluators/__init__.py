"""Evaluators: batches in this process or on a Ray cluster, and a user's own function or command."""
