import torch

from nascli.supernet.convolutions import NormalisedConv
from nascli.supernet.initialisation import align_candidates
from nascli.supernet.separate import Supernet


def test_aligned_candidates_start_from_one_draw(tiny):
    torch.manual_seed(0)
    layer = Supernet(tiny, aligned=False).blocks[2]
    align_candidates(layer)
    convs = [[m for m in c.children() if isinstance(m, NormalisedConv)] for c in layer]
    small, large = convs[0], convs[5]  # expansion 3, kernel 3 and expansion 6, kernel 7
    core = large[1].conv.weight[: small[1].conv.out_channels, :, 2:5, 2:5]
    ratio = small[1].conv.weight / core
    assert torch.allclose(ratio, ratio.flatten()[0].expand_as(ratio), rtol=1e-4)
    assert float(large[1].conv.weight.detach()[:, :, 0].abs().max()) == 0


def test_residual_branches_start_at_zero(tiny):
    torch.manual_seed(0)
    supernet = Supernet(tiny)
    x = torch.randn(2, *tiny.input)
    for block in supernet.blocks[:2]:
        x = block(x) if not isinstance(block, torch.nn.ModuleList) else block[0](x)
    residual = [
        candidate
        for block in supernet.blocks
        if isinstance(block, torch.nn.ModuleList)
        for candidate in block
        if candidate.program.nodes and candidate.program.nodes[-1].primitive.kind == "add"
    ]
    for candidate in residual:
        x = torch.randn(2, *candidate.program.input)
        assert torch.equal(candidate(x), x)
