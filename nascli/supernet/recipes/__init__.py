"""Recipes: how networks and supernets are trained."""
