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


def write_cells(folder, images=64, size=24):
    """Write grey images in the form of elpv-dataset: labels.csv and images/, a quarter of the images of each class.

    A dark stripe on the left is wider in later classes.
    """
    from PIL import Image

    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    lines = []
    for i in range(images):
        pixels = rng.integers(90, 160, (size, size)).astype(np.uint8)
        pixels[:, : 2 * (i % 4)] = 10
        Image.fromarray(pixels).save(folder / "images" / f"cell{i:04}.png")
        lines.append(f"images/cell{i:04}.png {i % 4 / 3:.16f} mono")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
