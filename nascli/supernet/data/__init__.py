"""Image data: sources, splits, batches, and augmentation."""
