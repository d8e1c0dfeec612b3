import pytest
import torch

from nascli.errors import DataError, UnknownNameError
from nascli.spaces import make_space
from nascli.supernet.data.images import (
    data_properties,
    load_images,
    parameters_for_data,
    require_fit,
    space_for_data,
)


@pytest.fixture(scope="module")
def images():
    return load_images("digits", 8)


def test_data_is_split_once_and_for_all(images):
    sizes = [len(images.train), len(images.validation), len(images.test)]
    assert sum(sizes) == 1797 and sizes[0] > 1000
    assert load_images("digits", 8).digest == images.digest != load_images("digits", 16).digest
    assert data_properties("digits") == (10, 1)
    with pytest.raises(UnknownNameError, match="unknown data set"):
        load_images("didgits", 8)
    with pytest.raises(DataError, match="the space takes"):
        require_fit(images, (3, 8, 8), 10)


def test_images_are_normalised_and_resized(images):
    assert float(images.train.images.mean()) == pytest.approx(0, abs=1e-5)
    assert float(images.train.images.std()) == pytest.approx(1, abs=1e-3)
    assert images.train.images.dtype == torch.float32 and images.train.labels.dtype == torch.int64
    assert load_images("digits", 5).shape == (1, 5, 5)


def test_a_space_takes_the_data_s_classes_and_channels_unless_told():
    space = make_space("proxyless-mini", resolution=8)
    assert space_for_data(space, "cifar100").output.channels == 100
    assert space_for_data(space, "cifar100").input.channels == 3
    told = make_space("proxyless-mini", resolution=8, classes=7)
    parameters = parameters_for_data(told, "digits")
    assert (parameters["classes"], parameters["channels"], parameters["resolution"]) == (7, 1, 8)
