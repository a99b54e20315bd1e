"""Networks of other projects that spandrel reads: RRDBNet, SwinIR, SPAN, DAT, HAT, Compact and more.

spandrel (MIT, chaiNNer's authors) tells the architecture and its options by the names and shapes of the tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn


class UnknownNetworkError(ValueError):
    """The network is neither ours nor one that spandrel reads. The message is one line."""


class ForeignNetwork(nn.Module):
    """A network that spandrel built. It takes images of any size, pads them as the network needs, and crops the result.
    The output is in [0, 1].

    Args:
        descriptor: spandrel's descriptor of an image model with one input.
    """

    def __init__(self, descriptor: Any):
        super().__init__()
        self.model: nn.Module = descriptor.model
        self.in_chans: int = descriptor.input_channels
        self.supports_half: bool = descriptor.supports_half
        self._call = descriptor

    def forward(self, x: Tensor) -> Tensor:
        return self._call(x)


def build_foreign(weights: Mapping[str, Tensor]) -> tuple[ForeignNetwork, str, int]:
    """The network of a state dict, its architecture's name and its enlargement.

    Raises:
        UnknownNetworkError: spandrel is not installed, does not know the network, or it is none that enlarges or
            restores a single image.
    """
    try:
        from spandrel import ImageModelDescriptor, ModelLoader, UnsupportedModelError
    except ImportError:
        raise UnknownNetworkError('to read other networks: pip install "paragon-plugin[spandrel]"') from None
    _install_extra_architectures()
    try:
        descriptor = ModelLoader().load_from_state_dict(dict(weights))
    except UnsupportedModelError:
        raise UnknownNetworkError("nor is it of a network that spandrel reads") from None
    except Exception as error:  # its architectures raise nearly anything on tensors that only look like theirs
        raise UnknownNetworkError(f"spandrel cannot build it: {type(error).__name__}: {error}") from error
    name = descriptor.architecture.name
    if not isinstance(descriptor, ImageModelDescriptor):
        raise UnknownNetworkError(f"it is {name}, which takes more than one image")
    if descriptor.input_channels != descriptor.output_channels:
        kinds = f"{descriptor.input_channels} channels to {descriptor.output_channels}"
        raise UnknownNetworkError(f"it is {name} from {kinds}; only networks that keep the number of channels are read")
    network = ForeignNetwork(descriptor.eval())
    _fold_once(network)
    return network, name, descriptor.scale


def _fold_once(network: nn.Module) -> None:
    """SPAN folds its parallel convolutions into one at every call: needless here, and nothing that can be exported.

    "Swift Parameter-free Attention Network for Efficient Super-Resolution" (Wan et al., 2024).
    """
    for module in network.modules():
        if isinstance(getattr(module, "eval_conv", None), nn.Module) and hasattr(module, "update_params"):
            fold: Any = module.update_params
            fold()
            module.update_params = _nothing  # type: ignore[assignment]


def _nothing() -> None:
    pass


def _install_extra_architectures() -> None:
    """Those that are not free for every use stand in a package of their own."""
    try:
        import spandrel_extra_arches  # pyright: ignore[reportMissingImports]
    except ImportError:
        return
    spandrel_extra_arches.install(ignore_duplicates=True)
