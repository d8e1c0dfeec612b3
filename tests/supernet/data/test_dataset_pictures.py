import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, Dataset, Subset

from nascli.errors import DataError
from nascli.supernet.data.dataset_pictures import DatasetPictures, listed_labels, parts_of
from nascli.supernet.data.pictures import image_bytes


class Squares(Dataset):
    """Grey squares whose brightness is their number."""

    def __init__(self, n=12, classes=3, **attributes):
        self.n, self.k = n, classes
        self.read = 0
        for name, value in attributes.items():
            setattr(self, name, value)

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        self.read += 1
        return torch.full((3, 6, 8), i, dtype=torch.uint8), i % self.k


def test_labels_are_taken_from_a_list_or_else_from_the_items():
    plain = Squares()
    pictures = DatasetPictures(plain, "mine")
    assert pictures.labels.tolist() == [0, 1, 2] * 4 and plain.read >= 12
    for attributes in (
        {"targets": [0, 1, 2] * 4},
        {"labels": np.array([0, 1, 2] * 4)},
        {"_labels": torch.tensor([0, 1, 2] * 4)},
        {"samples": [(f"{i}.png", i % 3) for i in range(12)]},
    ):
        listed = Squares(**attributes)
        assert DatasetPictures(listed, "mine").labels.tolist() == [0, 1, 2] * 4
        assert listed_labels(listed).tolist() == [0, 1, 2] * 4
    listed = Squares(targets=[0, 1, 2] * 4)
    assert listed_labels(Subset(listed, [4, 3])).tolist() == [1, 0]
    assert listed_labels(ConcatDataset([listed, Subset(listed, [2])])).tolist() == [0, 1, 2] * 4 + [2]
    # A list of something else is none of labels.
    for attributes in ({"targets": ["a"] * 12}, {"targets": [0, 1]}, {"targets": [0.5] * 12}):
        assert listed_labels(Squares(**attributes)) is None
    assert listed_labels(Squares(targets=[0, 1, 2] * 4, target_transform=lambda y: 0)) is None


def test_images_of_every_kind_are_read():
    image = pytest.importorskip("PIL.Image")
    colours = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)
    planes = torch.from_numpy(colours).permute(2, 0, 1)
    for given in (colours, planes, image.fromarray(colours)):
        assert torch.equal(image_bytes(given, 3), planes)
    grey = colours[..., 0]
    for given in (grey, grey[..., None], torch.from_numpy(grey.copy()), image.fromarray(grey)):
        assert image_bytes(given, 1).shape == (1, 5, 4)
        assert torch.equal(image_bytes(given, 3), torch.from_numpy(grey.copy()).expand(3, -1, -1))
    # Palettes and transparency become colours.
    assert image_bytes(image.fromarray(colours).convert("P"), 3).shape == (3, 5, 4)
    assert image_bytes(image.fromarray(colours).convert("RGBA"), 3).shape == (3, 5, 4)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (torch.zeros(3, 4, 4), "not a PIL image, a tensor of bytes"),
        (np.zeros((4, 4, 3)), "not a PIL image, a tensor of bytes"),
        ("picture.png", "is a builtins.str"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), "not a PIL image"),
        (torch.zeros(4, 4, 4, dtype=torch.uint8), "has 4 channels, not 3"),
    ],
)
def test_an_image_of_another_kind_is_refused(given, text):
    with pytest.raises(DataError, match=text):
        image_bytes(given, 3)


class Broken(Squares):
    def __getitem__(self, i):
        if i == 7:
            raise ValueError("no such picture")
        return super().__getitem__(i)


class Endless:
    def __getitem__(self, i):
        return torch.zeros(3, 4, 4, dtype=torch.uint8), 0


class Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        yield torch.zeros(3, 4, 4, dtype=torch.uint8), 0


class Dictionaries(Squares):
    def __getitem__(self, i):
        return {"image": 0, "label": 1}


class Named(Squares):
    def __getitem__(self, i):
        return super().__getitem__(i)[0], "cat"


@pytest.mark.parametrize(
    ("dataset", "text"),
    [
        (Endless(), "mine is a Endless without a length"),
        (Stream(), "mine is a Stream without"),
        (object(), "without __getitem__"),
        (Squares(0), "mine is empty"),
        (Dictionaries(), "item 0 of mine is a dict, not a pair"),
        (Named(), "a label must be an integer"),
        (Broken(), "cannot read item 7 of mine: ValueError: no such picture"),
    ],
)
def test_a_data_set_that_cannot_be_used_is_refused(dataset, text):
    with pytest.raises(DataError, match=text):
        DatasetPictures(dataset, "mine")


def test_one_data_set_a_pair_or_a_triple():
    one = parts_of(Squares(), "mine")
    assert one.test is None and one.validation is None and one.class_names == ("0", "1", "2")
    pair = parts_of((Squares(), Squares(6)), "mine")
    assert len(pair.test) == 6 and pair.validation is None and pair.test.name(2) == "item 2 of mine, test"
    triple = parts_of([Squares(classes=2), Squares(4, 2), Squares(6, 2)], "mine")
    assert len(triple.validation) == 4 and len(triple.test) == 6
    titled = Squares()
    titled.classes = ["a", "b", "c"]
    assert parts_of(titled, "mine").class_names == ("a", "b", "c")
    with pytest.raises(DataError, match="gives 4 data sets"):
        parts_of((Squares(),) * 4, "mine")


def test_classes_must_fit():
    with pytest.raises(DataError, match="the test part has labels from 0 to 3, but there are 3 classes"):
        parts_of((Squares(), Squares(8, 4)), "mine")
    with pytest.raises(DataError, match="1 of 3 classes have no training images: 1"):
        parts_of(Squares(2, targets=[0, 2]), "mine")
    with pytest.raises(DataError, match="of 1 class; at least 2"):
        parts_of(Squares(2, 1), "mine")
    with pytest.raises(DataError, match="labels from -1 to 1"):
        parts_of(Squares(2, targets=[-1, 1]), "mine")


def test_the_digest_changes_with_the_images():
    class Brighter(Squares):
        def __getitem__(self, i):
            image, label = super().__getitem__(i)
            return image + 1, label

    Brighter.__qualname__ = Squares.__qualname__
    digests = {
        DatasetPictures(each, "mine").digest
        for each in (Squares(), Squares(), Squares(9), Brighter(), Squares(targets=[0, 1, 1] * 4))
    }
    assert len(digests) == 4
