"""Network Space Search (NSS; Hong et al. 2021)."""
