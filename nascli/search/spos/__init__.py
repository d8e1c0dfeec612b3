"""Single Path One-Shot (Guo et al. 2020)."""
