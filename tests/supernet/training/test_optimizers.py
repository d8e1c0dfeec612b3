import pytest
import torch
from torch import nn

from nascli.supernet.training.optimizers import load_optimizer_tensors, make_optimizer, optimizer_tensors
from nascli.supernet.training.recipe import Recipe


@pytest.mark.parametrize(
    ("name", "keys"), [("sgd", {"momentum_buffer"}), ("adam", {"step", "exp_avg", "exp_avg_sq"})]
)
def test_an_optimizer_goes_on_from_its_tensors(name, keys):
    def step(module, optimizer):
        optimizer.zero_grad()
        module[0](torch.ones(2, 3)).sum().backward()
        optimizer.step()

    torch.manual_seed(0)
    recipe = Recipe(epochs=1, optimizer=name)
    module, other = (nn.ModuleList([nn.Linear(3, 2), nn.Linear(3, 2)]) for _ in range(2))
    optimizer = make_optimizer(module, recipe)
    step(module, optimizer)
    tensors = {name: tensor.clone() for name, tensor in optimizer_tensors(module, optimizer).items()}
    # The second layer has not been used, and has no state.
    assert tensors.keys() == {f"0.{parameter}/{key}" for parameter in ("weight", "bias") for key in keys}
    other.load_state_dict(module.state_dict())
    again = make_optimizer(other, recipe)
    load_optimizer_tensors(other, again, tensors)
    for each, its_optimizer in ((module, optimizer), (other, again)):
        step(each, its_optimizer)
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in module.state_dict().items())
