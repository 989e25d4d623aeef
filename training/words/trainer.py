"""One optimisation step after another, for either part of the network."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from training.train import learning_rate_factor

_WARM_UP = 0.02


class Losses(Protocol):
    """The losses of a batch by their names, each a scalar."""

    def _asdict(self) -> dict[str, Tensor]: ...

    def total(self) -> Tensor:
        """Weigh them against each other."""
        ...


class Trainer:
    """A network, its optimiser and the running average of its weights.

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
        self.network, self._losses = network.train(), losses
        self._learning_rate, self._decay = learning_rate, decay
        self.average = {name: value.clone() for name, value in network.state_dict().items()}
        self.optimizer = torch.optim.AdamW(_shared_out(network, groups), weight_decay=0.02)
        self.step = 0

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
        self._update_average()
        return {name: float(loss.detach()) for name, loss in losses._asdict().items()}

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self._decay, (1 + self.step) / (10 + self.step))
        for name, value in self.network.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - decay)
            else:
                self.average[name].copy_(value)

    def state(self) -> dict[str, Any]:
        """Return all that `restore` needs to go on exactly from here."""
        return {
            "network": self.network.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a saved `state`."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        for name, value in state["average"].items():
            self.average[name].copy_(value)
        self.step = state["step"]


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
