"""Search algorithms, one file each, and the one loop that drives them."""
