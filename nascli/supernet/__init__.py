"""Weight-sharing networks: modules, training, evaluation, data. Imports torch."""
