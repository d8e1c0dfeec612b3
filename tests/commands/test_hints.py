from pathlib import Path

import pytest

from nascli.commands.hints import error_as_text, remedy_as_text, target_as_options
from nascli.errors import NascliError, Remedy
from nascli.execution import Execution
from nascli.profiles.target import TargetSpec

PLACE = "--device cpu --batch 2 --threads 1 --precision fp32"


def test_a_target_is_told_as_options():
    assert target_as_options(TargetSpec(batch=2)) == PLACE
    card = TargetSpec(device="titanxp", runtime="tensorrt", cuda_graph=True, rotate_inputs=True)
    assert target_as_options(card).endswith("--runtime tensorrt --cuda-graph --rotate-inputs")


@pytest.mark.parametrize(
    ("remedy", "text"),
    [
        (Remedy(job="list_tables"), "nascli lut list"),
        (Remedy(job="calibrate", arguments={"networks": 24}), "nascli calibrate --networks 24"),
        (Remedy(arguments={"precision": None, "runtime": None}), "--precision, --runtime"),
        (Remedy(arguments={"device": "titanxp", "batch": 128}), "--device titanxp --batch 128"),
        (Remedy(arguments={"clock_mhz": 1404}), "--lock-clocks 1404"),
        (
            Remedy(
                job="profile",
                arguments={"space": "s", "target": TargetSpec(batch=2)},
            ),
            f"nascli profile --space s {PLACE}",
        ),
        (
            Remedy(
                job="profile",
                arguments={"network": Path("a b.onnx"), "execution": Execution(store=Path("s"))},
            ),
            "nascli profile --network 'a b.onnx' --store s",
        ),
    ],
)
def test_a_remedy_is_told_as_what_to_type(remedy, text):
    assert remedy_as_text(remedy) == text


def test_the_shared_store_need_not_be_named():
    remedy = Remedy(job="profile", arguments={"space": "s", "execution": Execution()})
    assert remedy_as_text(remedy) == "nascli profile --space s"


def test_an_error_ends_in_what_to_type():
    remedy = Remedy(arguments={"store": None})
    assert error_as_text(NascliError("no store.", "Name one that exists.", remedy)) == (
        "no store.\nName one that exists: --store"
    )
    assert error_as_text(NascliError("no store.", None, remedy)) == "no store.\nTry: --store"
    assert error_as_text(NascliError("no store.", "Wait.")) == "no store.\nWait."
    # Whoever uses the library reads no option.
    assert "--" not in str(NascliError("no store.", "Name one that exists.", remedy))
