"""Jobs that train and export."""
