"""Recipes of networks and supernets, one file per family."""
