"""Jobs on stored tables."""
