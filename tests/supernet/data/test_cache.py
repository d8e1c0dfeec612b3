import pickle

import numpy as np
import pytest
import torch
from image_files import write_images

from nascli.errors import DataError
from nascli.progress import Silent
from nascli.supernet.data import cache
from nascli.supernet.data.cache import CachedPictures, cache_file, cached, decoded_bytes
from nascli.supernet.data.reader import decode_all
from nascli.supernet.data.sources.folder import open_folder


class Messages(Silent):
    def __init__(self):
        self.texts = []

    def message(self, text, *remedies):
        self.texts.append(text)


@pytest.fixture
def pictures(tmp_path):
    write_images(tmp_path / "images", suffix=".jpg")
    return open_folder(str(tmp_path / "images")).train


def keep(pictures, progress=None, decode=None):
    decode = decode or (lambda all_of: decode_all(all_of, 0, False))
    return cached(pictures, "mine", progress or Silent(), decode)


def never(pictures):
    raise AssertionError("decoded again")


def same(first, second):
    return all(torch.equal(first.read(i), second.read(i)) for i in range(len(first)))


def test_images_come_out_as_they_went_in(pictures):
    progress = Messages()
    kept = keep(pictures, progress)
    assert isinstance(kept, CachedPictures) and same(kept, pictures)
    assert kept.digest == pictures.digest and kept.name(3) == pictures.name(3)
    assert kept.size(1) == (33, 24) == pictures.size(1)
    assert f"mine: 24 decoded images are kept in {cache_file(pictures)} (0 MB)" in progress.texts[-1]
    # The next process, or run, finds them.
    assert same(keep(pictures, decode=never), pictures)
    assert sorted(p.suffix for p in cache_file(pictures).parent.iterdir()) == [".images", ".lock"]


def test_a_process_that_is_not_forked_maps_the_file(pictures):
    kept = keep(pictures)
    document = pickle.dumps(kept)
    assert len(document) < 20_000
    assert same(pickle.loads(document), pictures)


def test_other_files_are_another_cache(pictures, tmp_path):
    keep(pictures)
    (tmp_path / "images" / "class0" / "000.jpg").write_bytes(b"longer than it was" * 100)
    changed = open_folder(str(tmp_path / "images")).train
    assert changed.digest != pictures.digest and not cache_file(changed).exists()


@pytest.mark.parametrize("damage", ["cut", "empty", "mark", "index", "pixels", "digest", "longer"])
def test_a_damaged_file_is_found_out_and_written_anew(pictures, damage):
    file = cache_file(keep(pictures))
    content = file.read_bytes()
    index = content.index(b'{"digest"') - 24 * 32
    damaged = {
        "cut": content[:-100],
        "empty": b"",
        "mark": content[:-1] + b"?",
        "index": content[:index] + b"\xff" * 8 + content[index + 8 :],
        "pixels": bytes(255 - b for b in content[:index]) + content[index:],
        "digest": content.replace(pictures.digest.encode(), b"0" * 64),
        "longer": content[:index] + b"more" + content[index:],
    }[damage]
    file.write_bytes(damaged)
    with pytest.raises(DataError, match="is damaged"):
        CachedPictures(pictures, file)
    progress = Messages()
    assert same(keep(pictures, progress), pictures)
    assert "is damaged" in progress.texts[0] and "written anew" in progress.texts[0]
    assert file.read_bytes() == content


def test_images_that_do_not_fit_are_decoded_again(pictures, monkeypatch):
    progress = Messages()
    assert 24 * 500 < decoded_bytes(pictures) < 24 * 3000
    monkeypatch.setattr(cache, "free_memory", lambda: 20_000)
    assert keep(pictures, progress, never) is pictures
    assert "more than the 0 MB that may be used" in progress.texts[0]


def test_a_writer_that_is_stopped_leaves_nothing(pictures):
    def stopping(all_of):
        yield all_of.read(0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        keep(pictures, decode=stopping)
    assert [p.suffix for p in cache_file(pictures).parent.iterdir()] == [".lock"]
    assert same(keep(pictures), pictures)


def test_a_full_disk_is_told_and_images_are_decoded_again(pictures, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "_write", full)
    progress = Messages()
    assert keep(pictures, progress) is pictures
    assert "No space left on device" in progress.texts[0]


def test_what_cannot_be_read_keeps_its_error(pictures, tmp_path):
    bad = pictures.path(5)
    bad.write_bytes(b"x" * bad.stat().st_size)
    with pytest.raises(DataError, match=bad.name):
        keep(pictures)
    assert not cache_file(pictures).exists()
    kept = keep(pictures, decode=lambda all_of: decode_all(all_of, 0, True))
    assert torch.equal(kept.read(4), pictures.read(4))
    with pytest.raises(DataError, match=f"cannot read the image .*{bad.name}"):
        kept.read(5)


def test_the_index_has_the_places_of_the_images(pictures):
    kept = keep(pictures)
    offsets = np.cumsum([0] + [pictures.read(i).numel() for i in range(24)])
    assert kept._index[:, 0].tolist() == offsets[:-1].tolist()
