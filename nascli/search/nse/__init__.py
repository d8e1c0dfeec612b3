"""Neural Search Space Evolution (Ci et al. 2021)."""
