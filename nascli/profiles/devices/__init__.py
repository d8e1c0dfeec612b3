"""Devices: CPUs, cards, and their data sheets."""
