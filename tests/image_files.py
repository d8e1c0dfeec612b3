"""Small folders of image files for tests."""

import numpy as np


def write_images(folder, classes=2, images=12, sizes=((20, 26), (33, 24), (16, 16)), seed=0, suffix=".png"):
    """Write images of several sizes, `images` of each class; return the paths, class by class."""
    from PIL import Image

    rng = np.random.default_rng(seed)
    paths = []
    for number in range(classes):
        own = folder / f"class{number}"
        own.mkdir(parents=True)
        for i in range(images):
            height, width = sizes[i % len(sizes)]
            # Smooth colours, brighter in later classes, so that resizing keeps what tells images apart.
            small = rng.integers(0, 156, (4, 4, 3)) + 100 * number // classes
            image = Image.fromarray(small.astype(np.uint8)).resize((width, height))
            image.save(own / f"{i:03}{suffix}")
            paths.append(own / f"{i:03}{suffix}")
    return paths
