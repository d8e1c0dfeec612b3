"""Jobs that measure, calibrate, and predict."""
