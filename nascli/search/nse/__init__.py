"""Neural Search Space Evolution (NSE; Ci et al. 2021)."""
