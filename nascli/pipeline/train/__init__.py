"""Jobs that train networks and supernets, and export what was trained."""
