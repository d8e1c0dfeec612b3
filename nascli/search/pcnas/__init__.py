"""PC-NAS (Li et al. 2020)."""
