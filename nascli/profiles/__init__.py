"""What an architecture's parts cost on a device, by measuring."""
