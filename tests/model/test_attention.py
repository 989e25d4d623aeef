"""Attention, beside the formula."""

import pytest
import torch

from sam_video.model.attention import (
    KEYS_PER_BLOCK,
    Rotation,
    attend,
    attend_by_pytorch,
)


@pytest.mark.parametrize(
    "num_keys", [40, 1824, 4 * KEYS_PER_BLOCK, 4 * KEYS_PER_BLOCK + 9], ids=str
)
@pytest.mark.parametrize("num_queries", [1, 600])
def test_values_are_averaged_by_the_softmax_of_the_scores(num_queries: int, num_keys: int) -> None:
    generator = torch.Generator().manual_seed(num_keys)
    queries = torch.randn(2, num_queries, 32, generator=generator)
    keys = torch.randn(2, num_keys, 32, generator=generator) * 3 / 32**0.5
    values = torch.randn(2, num_keys, 8, generator=generator)
    expected = (queries.double() @ keys.double().mT).softmax(-1) @ values.double()
    assert (attend(queries, keys, values) - expected).abs().max() < 1e-5


@pytest.mark.parametrize("valid", [[1, 40, 333], [77]], ids=str)
def test_keys_beyond_the_number_of_valid_ones_count_nothing(valid: list[int]) -> None:
    generator = torch.Generator().manual_seed(0)
    queries, keys, values = torch.randn(3, 3, 333, 16, generator=generator).unbind()
    found = attend(queries, keys, values, torch.tensor(valid, dtype=torch.int32))
    for row, length in enumerate(valid * (3 // len(valid))):
        alone = [tensor[row : row + 1] for tensor in (queries, keys, values)]
        expected = attend(alone[0], alone[1][:, :length], alone[2][:, :length])
        assert torch.equal(found[row], expected[0])


@pytest.mark.parametrize("valid", [None, [1, 40, 333], [77]], ids=str)
def test_the_attention_of_pytorch_gives_the_same(valid: list[int] | None) -> None:
    generator = torch.Generator().manual_seed(0)
    queries, keys, values = torch.randn(3, 3, 333, 16, generator=generator).unbind()
    num_valid = None if valid is None else torch.tensor(valid, dtype=torch.int32)
    queries, values = queries[:1].expand(3, -1, -1), values[..., :8]
    found = attend_by_pytorch(queries, keys, values, num_valid)
    assert (found - attend(queries, keys, values, num_valid)).abs().max() < 1e-5


def test_scores_beyond_what_exponentials_hold_are_no_trouble() -> None:
    keys = torch.zeros(1, 5 * KEYS_PER_BLOCK, 1)
    keys[0, :KEYS_PER_BLOCK] = -1e4
    keys[0, 4321] = 1e4
    values = torch.zeros(1, 5 * KEYS_PER_BLOCK, 1)
    values[0, 4321] = 1.0
    assert attend(torch.ones(1, 3, 1), keys, values).tolist() == [[[1.0]] * 3]


def test_products_of_rotated_tokens_depend_on_where_they_are_to_each_other_only() -> None:
    rotate = Rotation.of_grid(8, 16, 10000.0)
    query, key = torch.randn(2, 16, generator=torch.Generator().manual_seed(1))
    products = rotate(query.expand(64, -1)) @ rotate(key.expand(64, -1)).T
    assert torch.allclose(products[0, 9], products[18, 27], atol=1e-5)
    assert torch.allclose(products[0, 0], query @ key, atol=1e-5)
