"""What a training keeps from step to step, whatever it trains."""

from typing import Any

import torch
from torch import nn


class Learning:
    """A network, its optimiser and the running average of its weights.

    Args:
        network: Learns in place.
        optimizer: Of its parameters.
    """

    def __init__(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.network = network
        self.optimizer = optimizer
        self.average = {name: value.clone() for name, value in network.state_dict().items()}
        self.step = 0

    @torch.no_grad()
    def update_average(self, decay: float) -> None:
        """Take the present weights into the average; the first steps weigh more."""
        decay = min(decay, (1 + self.step) / (10 + self.step))
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
