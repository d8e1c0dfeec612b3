import pytest
from simulated_devices import DEVICES, add_networks, add_table

from nascli.errors import StoreError
from nascli.execution import Execution
from nascli.pipeline.measure.subjects import space_subjects
from nascli.pipeline.tables import page as module
from nascli.pipeline.tables.page import write_table_page
from nascli.profiles.target import TargetSpec
from nascli.spaces.counts import count
from nascli.spaces.operators.inverted_residual import mbconv

SPEC = TargetSpec(device="alpha", batch=4)


@pytest.fixture
def path(tmp_path, tiny):
    path = tmp_path / "s.sqlite"
    add_table(path, "alpha", DEVICES["alpha"], space_subjects(tiny, 16))
    add_networks(path, "alpha", DEVICES["alpha"], tiny, [tuple([0] * len(tiny.layers))])
    return path


def test_a_page_names_its_table_and_is_the_same_when_it_is_written_again(tmp_path, path):
    out = tmp_path / "page.html"
    assert write_table_page(SPEC, Execution(store=path), out) == out
    text = out.read_text()
    assert "alpha, simulated 1, fp32, batch 4, 1 thread" in text
    write_table_page(SPEC, Execution(store=path), out)
    assert out.read_text() == text


def test_points_are_operators_with_the_work_of_a_whole_batch(tmp_path, path, tiny, monkeypatch):
    shown = {}

    def render(label, digest, rows):
        shown.update({row.operator: row for row in rows})
        return ""

    monkeypatch.setattr(module, "render_table", render)
    write_table_page(SPEC, Execution(store=path), tmp_path / "page.html")
    assert not any(label.startswith("network ") for label in shown)
    operator = tiny.operators()[0]
    assert shown[operator.label].macs == 4 * count(operator.program).macs


def test_the_narrowest_channels_of_an_operator_are_those_of_its_convolutions():
    assert module._narrowest(mbconv((8, 4, 4), 16, expand=2).program) == 8
    # An image's channels are no narrow convolution.
    assert module._narrowest(mbconv((3, 4, 4), 16, expand=4).program) == 12


def test_a_table_without_operators_has_no_page(tmp_path):
    with pytest.raises(StoreError, match="no operators were measured") as caught:
        write_table_page(TargetSpec(), Execution(store=tmp_path / "s.sqlite"), tmp_path / "page.html")
    assert caught.value.remedies[0].job == "profile" and not (tmp_path / "page.html").exists()


def test_a_page_that_cannot_be_written_is_told(tmp_path, path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(StoreError, match="cannot write"):
        write_table_page(SPEC, Execution(store=path), tmp_path / "taken" / "page.html")
