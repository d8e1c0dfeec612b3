import pytest
from image_files import write_images

from nascli.errors import DataError, UnknownNameError
from nascli.supernet.data.images import data_properties, load_images
from nascli.supernet.data.options import DataOptions
from nascli.supernet.data.sources.torchvision_sets import open_torchvision

datasets = pytest.importorskip("torchvision.datasets")


def test_a_data_set_without_parts(tmp_path):
    write_images(tmp_path / "images")
    spec = f"torchvision:ImageFolder:{tmp_path / 'images'}"
    assert data_properties(spec) == (2, 3)
    images = load_images(spec, 16, options=DataOptions(workers=0))
    assert sum(len(part) for part in (images.train, images.validation, images.test)) == 24


class Parts(datasets.FakeData):
    known = ("train", "val", "test")

    def __init__(self, root, split="train"):
        if split not in self.known:
            raise ValueError(f"Unknown value '{split}' for argument split.")
        super().__init__(
            size={"train": 20, "val": 8, "test": 6}[split], image_size=(3, 10, 10), num_classes=2
        )


class TwoParts(Parts):
    known = ("train", "val")


class Flag(datasets.FakeData):
    def __init__(self, root, train=True):
        super().__init__(size=20 if train else 6, image_size=(3, 10, 10), num_classes=2)


@pytest.mark.parametrize(
    ("kind", "sizes"), [(Parts, [20, 8, 6]), (TwoParts, [20, None, 8]), (Flag, [20, None, 6])]
)
def test_parts_are_found_by_their_names(monkeypatch, kind, sizes):
    monkeypatch.setattr(datasets, "Flowers102", kind)
    parts = open_torchvision("Flowers102:somewhere")
    found = [part and len(part) for part in (parts.train, parts.validation, parts.test)]
    assert found == sizes


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("Flower102:x", UnknownNameError, "Did you mean Flowers102"),
        ("CIFAR10", DataError, "torchvision's CIFAR10 needs the folder"),
        ("EMNIST:x", DataError, "EMNIST has no part called train or"),
    ],
)
def test_what_cannot_be_opened_is_told(text, error, words):
    with pytest.raises(error, match=words):
        open_torchvision(text)


def test_nothing_is_downloaded(tmp_path):
    with pytest.raises(DataError, match="CIFAR10 cannot be opened: .*nothing is downloaded"):
        open_torchvision(f"CIFAR10:{tmp_path}")
