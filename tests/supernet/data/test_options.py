import pytest

from nascli.errors import DataError
from nascli.supernet.data.options import DataOptions, parse_validation, parse_workers


def test_only_what_changes_a_result_is_written_down():
    assert DataOptions().to_json() == {}
    assert DataOptions(workers=3, cache=False).to_json() == {}
    document = DataOptions(validation=0.1, skip_bad_images=True).to_json()
    assert document == {"validation": 0.1, "skip_bad_images": True}


@pytest.mark.parametrize(
    ("text", "size"), [(None, None), ("50000", 50000), ("0.1", 0.1), ("10%", 0.1), ("1", 1)]
)
def test_the_size_of_the_validation_part(text, size):
    assert parse_validation(text) == size


@pytest.mark.parametrize("text", ["0", "-3", "2.5", "much", "nan", "100%x", "inf"])
def test_other_sizes_are_refused(text):
    with pytest.raises(DataError, match="such as 50000 or 0.1"):
        parse_validation(text)


def test_the_number_of_workers():
    assert parse_workers("auto") is None and parse_workers("0") == 0 and parse_workers("12") == 12
    for text in ("-1", "many", "1.5", ""):
        with pytest.raises(DataError, match="the number of workers"):
            parse_workers(text)
