"""Measuring what the operators of an architecture cost on a device."""
