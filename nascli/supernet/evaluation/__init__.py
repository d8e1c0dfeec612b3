"""Accuracy of networks and of architectures of a supernet."""
