"""AutoSpace (Zhou et al. 2021)."""
