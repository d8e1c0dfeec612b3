import shutil

import pytest
import torch
from image_files import write_images

from nascli.errors import DataError
from nascli.supernet.data.sources.folder import open_folder, open_imagenet


def test_classes_are_folders_in_alphabetical_order(tmp_path):
    paths = write_images(tmp_path, classes=3, images=4)
    parts = open_folder(str(tmp_path))
    assert parts.class_names == ("class0", "class1", "class2") and parts.test is None
    assert parts.train.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert [parts.train.path(i) for i in range(12)] == paths
    assert parts.train.size(1) == (33, 24) and parts.train.read(1).shape == (3, 33, 24)
    assert parts.train.read(1).dtype == torch.uint8


def test_the_digest_follows_names_and_sizes(tmp_path):
    paths = write_images(tmp_path / "a")
    digest = open_folder(str(tmp_path / "a")).train.digest
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert open_folder(str(tmp_path / "b")).train.digest == digest
    paths[3].rename(paths[3].with_name("other.png"))
    assert open_folder(str(tmp_path / "a")).train.digest != digest


def test_a_class_without_images_is_named(tmp_path):
    write_images(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("nothing here")
    with pytest.raises(DataError, match="1 of 3 classes have no training images: empty"):
        open_folder(str(tmp_path))


def test_the_test_part_has_the_same_classes(tmp_path):
    write_images(tmp_path / "train", classes=2)
    write_images(tmp_path / "val", classes=3, images=2)
    with pytest.raises(DataError, match="has class folders that .* does not have: class2"):
        open_folder(str(tmp_path))
    shutil.rmtree(tmp_path / "val" / "class2")
    assert len(open_folder(str(tmp_path)).test) == 4


def test_imagenet_has_a_thousand_classes(tmp_path):
    write_images(tmp_path / "train")
    with pytest.raises(DataError, match="has 2 class folders, but ImageNet has 1000 classes") as caught:
        open_imagenet(str(tmp_path))
    assert caught.value.remedies[0].arguments == {"data": f"folder:{tmp_path}"}


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_a_file_that_is_no_image_is_named(tmp_path, content):
    paths = write_images(tmp_path)
    paths[1].write_bytes(content)
    pictures = open_folder(str(tmp_path)).train
    for use in (pictures.read, pictures.size):
        with pytest.raises(DataError, match=f"cannot read the image .*{paths[1].name}"):
            use(1)


def test_names_of_any_letters(tmp_path):
    paths = write_images(tmp_path)
    odd = paths[0].with_name("gr\u00fc\u00df \U0001f600.PNG")
    paths[0].rename(odd)
    pictures = open_folder(str(tmp_path)).train
    assert odd in {pictures.path(i) for i in range(len(pictures))}
