"""Networks and supernets in PyTorch: modules, training, evaluation, and data."""
