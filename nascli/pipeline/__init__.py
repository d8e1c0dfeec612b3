"""Whole jobs, made of the parts below: profile a space, search it, verify and train the winner."""
