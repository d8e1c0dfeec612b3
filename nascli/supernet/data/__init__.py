"""Images: sources, parts, batches, and augmentation."""
