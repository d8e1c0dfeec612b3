"""Network Space Search (Hong et al. 2021)."""
