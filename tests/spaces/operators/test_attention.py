import pytest

from nascli.errors import SpaceError
from nascli.spaces import count
from nascli.spaces.operators.attention import channel_mlp, convnext, self_attention, transformer


def test_attention_by_hand():
    # Queries, keys, values, and projection of 2 heads of 4 channels; both products over 6 positions.
    counts = count(self_attention((16, 2, 3), heads=2, head_dim=4).program)
    assert counts.macs == 6 * (3 * 16 * 8 + 8 * 16) + 2 * 8 * 6 * 6
    assert counts.params == 2 * 16 + 3 * (16 * 8 + 8) + 8 * 16 + 16


def test_reduced_keys_and_values_by_hand():
    # 5x5 positions are rounded up to 3x3 keys and values.
    macs = count(self_attention((8, 5, 5), heads=2, head_dim=4, reduction=2).program).macs
    assert macs == 25 * 8 * 8 + 9 * (8 * 8 * 4 + 2 * 8 * 8) + 2 * 8 * 25 * 9 + 25 * 8 * 8


def test_transformers_are_attention_and_mlp():
    both = count(transformer((16, 4, 4), heads=2, head_dim=8, expand=3).program)
    parts = count(self_attention((16, 4, 4), heads=2, head_dim=8).program)
    mlp = count(channel_mlp((16, 4, 4), expand=3).program)
    assert mlp.macs == 2 * 16 * 48 * 16
    assert (both.macs, both.params) == (parts.macs + mlp.macs, parts.params + mlp.params)
    scaled = count(transformer((16, 4, 4), heads=2, head_dim=8, expand=3, layer_scale=True).program)
    assert scaled.params == both.params + 2 * 16


def test_convnext_by_hand():
    # Depthwise 7x7, and 1x1 to four times the channels and back, with norm, biases, and layer scale.
    counts = count(convnext((8, 6, 6), 8).program)
    assert counts.macs == 36 * (8 * 49 + 2 * 8 * 32)
    assert counts.params == 8 * 49 + 8 + 2 * 8 + 8 * 32 + 32 + 32 * 8 + 8 + 8
    down = convnext((8, 7, 6), 12, stride=2, layer_scale=False)
    assert down.output == (12, 4, 3)
    assert count(down.program).macs == 12 * (8 * 12 * 4 + 12 * 49 + 2 * 12 * 48)


@pytest.mark.parametrize("build", [channel_mlp, lambda x, **more: convnext(x, 8, **more), transformer])
def test_expansion_ratios_start_at_one(build):
    with pytest.raises(SpaceError, match="expand must be at least 1"):
        build((8, 4, 4), expand=0)


def test_heads_are_counted_from_one():
    with pytest.raises(SpaceError, match="must be at least 1, got 0, 32, and 1"):
        self_attention((8, 4, 4), heads=0)
