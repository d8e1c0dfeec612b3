"""Single Path One-Shot (SPOS; Guo et al. 2020)."""
