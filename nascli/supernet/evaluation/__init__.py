"""Accuracy of networks and of many architectures of a supernet."""
