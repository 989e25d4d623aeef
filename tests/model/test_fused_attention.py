"""The kernel for narrow values, beside the formula; without a GPU Triton interprets it."""

import os

import pytest
import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
if DEVICE == "cpu":  # before Triton is imported
    os.environ["TRITON_INTERPRET"] = "1"
pytest.importorskip("triton", reason="Triton is not here")

from sam_video.model.fused_attention import Blocks, attend_fused  # noqa: E402

# A GPU multiplies float32 with 10 bits by default.
TOLERANCE = 1e-5 if DEVICE == "cpu" else 1e-2


@pytest.mark.parametrize("num_programs", [1, 8, 1000], ids=lambda n: f"{n} programs")
@pytest.mark.parametrize("num_keys", [1, 64, 333])
@pytest.mark.parametrize("num_queries", [20, 64])
def test_values_are_averaged_by_the_softmax_of_the_scores(
    num_queries: int, num_keys: int, num_programs: int
) -> None:
    generator = torch.Generator().manual_seed(num_keys)
    queries = torch.randn(2, num_queries, 32, generator=generator) / 32**0.5
    keys = torch.randn(2, num_keys, 32, generator=generator)
    values = torch.randn(2, num_keys, 16, generator=generator)
    expected = (queries.double() @ keys.double().mT).softmax(-1) @ values.double()
    blocks = Blocks(32, 16, 4, num_programs)
    found = attend_fused(queries.to(DEVICE), keys.to(DEVICE), values.to(DEVICE), blocks)
    assert (found.cpu() - expected).abs().max() < TOLERANCE


def test_objects_may_share_their_queries() -> None:
    queries = torch.randn(1, 40, 32, device=DEVICE).expand(3, -1, -1) / 32**0.5
    keys, values = torch.randn(3, 50, 32, device=DEVICE), torch.randn(3, 50, 16, device=DEVICE)
    expected = (queries @ keys.mT).softmax(-1) @ values
    found = attend_fused(queries, keys, values, Blocks(32, 16, 4, 10))
    assert (found - expected).abs().max() < TOLERANCE
