"""Photographs of solar cells with defects, from the package elpv-dataset.

The data set (Buerhop-Lutz et al. 2018) has 2,624 electroluminescence images of solar cells, each with the probability
that experts gave it of being defective. Its licence, CC BY-NC-SA 4.0, excludes commercial use.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from nascli.errors import DataError, missing_package
from nascli.supernet.data.pictures import PictureParts
from nascli.supernet.data.sources.base import Source
from nascli.supernet.data.sources.folder import FilePictures

# The probabilities that occur, as thirds: the classes are numbered in this order.
_CLASSES = ("functional", "possibly defective", "probably defective", "defective")


def open_elpv(text: str) -> PictureParts:
    """Open the images of the installed package, or of a folder with its labels.csv and images/.

    Args:
        text: The folder; empty for the package.

    Raises:
        RuntimeUnavailableError: No folder is named, and the package is not installed.
        DataError: A file is missing or damaged.
    """
    folder = Path(text).expanduser() if text else _package_folder()
    file = folder / "labels.csv"
    names, labels = [], []
    try:
        lines = file.read_text(encoding="ascii").splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {file}: {error}.", "Install elpv-dataset again.") from error
    for number, line in enumerate(lines, start=1):
        try:
            name, probability, _ = line.split()
            thirds = 3 * float(probability)
            label = round(thirds)
            if abs(thirds - label) > 0.01 or not 0 <= label < len(_CLASSES):
                raise ValueError(f"the probability {probability} is not 0, 1/3, 2/3, or 1")
        except (ValueError, OverflowError) as error:
            raise DataError(f"{file}, line {number}: {error}.", "Install elpv-dataset again.") from error
        names.append(name)
        labels.append(label)
    pictures = FilePictures(folder, names, labels, channels=1)
    # A photograph shows one cell up to its edges, where cracks may begin.
    pictures.whole = True
    return PictureParts(pictures, _CLASSES)


def _package_folder() -> Path:
    spec = find_spec("elpv_dataset")
    if spec is None or not spec.submodule_search_locations:
        raise missing_package("elpv-dataset", "elpv", "the data set elpv (for non-commercial use)")
    return Path(spec.submodule_search_locations[0]) / "data"


SOURCES: dict[str, Source] = {
    "elpv": Source(len(_CLASSES), 1, open=open_elpv),
}
