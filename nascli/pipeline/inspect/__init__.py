"""What is here and what is known: devices, spaces, networks, and what works."""
