import pytest
from onnx_models import saved

from nascli.errors import ArchitectureError
from nascli.lut.in_context.carriers import is_auxiliary
from nascli.lut.in_context.joins import join_models
from nascli.pipeline.measure.subjects import own_batch, read_network, space_subjects, subjects_of
from nascli.profiles.onnx.graphs import onnx_bytes
from nascli.spaces import Architecture, make_space


@pytest.fixture
def architecture(tiny, rng):
    return Architecture.of(tiny, tiny.sample(1, rng)[0], "mine")


def test_every_operator_of_a_space_is_a_subject_alone_and_in_context(tiny):
    subjects = subjects_of(tiny, 16)
    programs = {model.program.canonical for model in subjects.models}
    assert subjects.name == tiny.spec and subjects.distinct == len(tiny.operators())
    assert programs >= {
        operator.program.canonical for operator in tiny.operators() if operator.program.output
    }
    # What an operator adds in context is a difference between models of several operators.
    assert any(is_auxiliary(model.label) for model in subjects.models)


def test_branches_need_their_joins_measured_too():
    space = make_space("nse-19-mini", resolution=8, width=0.25, branches=2)
    joins = join_models(space)
    assert joins and space_subjects(space, 16)[-len(joins) :] == joins
    assert join_models(make_space("proxyless-mini")) == []


def test_a_network_s_subjects_are_its_own_layers(tiny):
    network = tiny.network([0] * len(tiny.layers), "mine")
    subjects = subjects_of(network, 16)
    assert subjects.name == "mine" and subjects.distinct <= len(network.operators)
    programs = {model.program.canonical for model in subjects.models}
    assert programs >= {o.program.canonical for o in network.operators if o.program.output}
    assert len(subjects.models) < len(subjects_of(tiny, 16).models)


def test_a_network_an_architecture_and_its_file_are_read_alike(tmp_path, architecture):
    architecture.save(tmp_path / "a.json")
    own, program = architecture.network, architecture.network.program
    network, no_architecture = read_network(own)
    assert network is own and no_architecture is None
    assert read_network(architecture)[1] is architecture
    network, read = read_network(tmp_path / "a.json")
    assert network.program == program and read.choices == architecture.choices


def test_an_onnx_model_is_a_network_of_no_space(tmp_path, architecture):
    path = tmp_path / "a.onnx"
    path.write_bytes(onnx_bytes(architecture.network.program, 1))
    network, no_architecture = read_network(path)
    assert no_architecture is None and network.counts.macs == architecture.network.counts.macs


def test_the_batch_of_a_file_is_its_own_where_it_has_one(tmp_path, architecture):
    fixed = tmp_path / "a.onnx"
    fixed.write_bytes(onnx_bytes(architecture.network.program, 3))
    free = saved(tmp_path / "f.onnx", "g (float[N,T] x) => (float[N,T] y) { y = Relu(x) }")
    assert own_batch(fixed, 16) == 3 and own_batch(tmp_path / "a.json", 16) == 16
    assert own_batch(free, 16, {"x": (5, 2)}) == 5
    with pytest.raises(ArchitectureError, match="leaves sizes open"):
        own_batch(free, 16)


def test_a_file_that_is_no_network_is_told(tmp_path):
    for name in ("a.json", "a.onnx"):
        (tmp_path / name).write_text("nothing")
        with pytest.raises(ArchitectureError, match=name):
            read_network(tmp_path / name)
