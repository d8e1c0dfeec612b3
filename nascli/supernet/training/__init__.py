"""Training: recipes, the loop, checkpoints, and several processes."""
