"""One pass of a discriminator over a batch, shared by all adversarial losses of the generator."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Verdict:
    """The outputs of the discriminator for a batch."""

    logits: Tensor
    features: tuple[Tensor, ...]
    """Outputs of its convolutions but the last, where somebody wants them."""


class DiscriminatorPass:
    """The discriminator on real images and on the generator's output, each evaluated once and only if asked for.

    Args:
        net: The discriminator; its parameters must not require gradients meanwhile.
        real: Real images (B, 3, H, W).
        keep_features: Keep the outputs of its convolutions.
    """

    def __init__(self, net: nn.Module, real: Tensor, *, keep_features: bool):
        self.net = net
        self.keep_features = keep_features
        self._real_images = real
        self._real: Verdict | None = None
        self._fake: Verdict | None = None

    def real(self) -> Verdict:
        """On the real images, without gradients."""
        if self._real is None:
            with torch.no_grad():
                self._real = self._judge(self._real_images)
        return self._real

    def fake(self, output: Tensor) -> Verdict:
        """On the generator's output, with its graph. The first output asked about is the batch's."""
        if self._fake is None:
            self._fake = self._judge(output)
        return self._fake

    def _judge(self, images: Tensor) -> Verdict:
        if not self.keep_features:
            return Verdict(self.net(images), ())
        features: list[Tensor] = []

        def keep(_: nn.Module, __: Any, result: Tensor) -> None:
            features.append(result)

        hooks = [m.register_forward_hook(keep) for m in self.net.modules() if isinstance(m, nn.Conv2d)]
        try:
            logits = self.net(images)
        finally:
            for hook in hooks:
                hook.remove()
        # A fully convolutional discriminator's last convolution gives the logits themselves.
        inner = [f for f in features if f is not logits]
        return Verdict(logits, tuple(inner))
