"""Training of networks and supernets: recipes, the training loop, checkpoints, and several processes."""
