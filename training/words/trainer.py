"""One optimisation step after another, for either part of the network."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from training.learning import Learning
from training.train import learning_rate_factor

_WARM_UP = 0.02


class Losses(Protocol):
    """The losses of a batch by their names, each a scalar."""

    def _asdict(self) -> dict[str, Tensor]: ...

    def total(self) -> Tensor:
        """Weigh them against each other."""
        ...


class Trainer(Learning):
    """Trains one part.

    Args:
        network: Learns in place.
        losses: Of the network on a batch.
        learning_rate: At its highest.
        decay: Of the running average, by each step.
        groups: Modules of the network that learn at a share of that rate.
    """

    def __init__(
        self,
        network: nn.Module,
        losses: Callable[[Any, Any], Losses],
        *,
        learning_rate: float,
        decay: float,
        groups: Sequence[tuple[nn.Module, float]] = (),
    ) -> None:
        self._losses = losses
        self._learning_rate, self._decay = learning_rate, decay
        shares = _shared_out(network, groups)
        super().__init__(network.train(), torch.optim.AdamW(shares, weight_decay=0.02))

    def learn(self, batch: Any, progress: float) -> dict[str, float]:
        """Take one optimisation step and return its losses."""
        rate = self._learning_rate * learning_rate_factor(progress, _WARM_UP)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["share"]
        losses = self._losses(self.network, batch)
        self.optimizer.zero_grad()
        losses.total().backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), 2.0)
        if norm.isfinite():
            self.optimizer.step()
        self.step += 1
        self.update_average(self._decay)
        return {name: float(loss.detach()) for name, loss in losses._asdict().items()}


def _shared_out(
    network: nn.Module, groups: Sequence[tuple[nn.Module, float]]
) -> list[dict[str, Any]]:
    """Return the parameter groups of the optimiser, the rest of the network first."""
    apart = {id(p) for module, _ in groups for p in module.parameters()}
    rest = [p for p in network.parameters() if id(p) not in apart and p.requires_grad]
    others = [
        {"params": [p for p in module.parameters() if p.requires_grad], "share": share}
        for module, share in groups
    ]
    return [{"params": rest, "share": 1.0}, *others]
