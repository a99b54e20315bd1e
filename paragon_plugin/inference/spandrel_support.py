"""Support of our networks in spandrel, the loader of chaiNNer and other programs.

After `install()` spandrel's `ModelLoader` loads our files like all others.
"""

from __future__ import annotations

from torch import nn

try:
    from spandrel import (
        MAIN_REGISTRY,
        Architecture,
        ArchRegistry,
        ArchSupport,
        ImageModelDescriptor,
        ModelTiling,
        SizeRequirements,
        StateDict,
    )
    from spandrel.util import KeyCondition
except ImportError as error:
    raise ImportError('spandrel support needs the package spandrel: pip install "paragon-plugin[spandrel]"') from error

from ..nets.checkpoint_detection import detect
from ..nets.content_gain import ContentGain
from ..nets.option_checks import MIN_SIDE
from ..nets.paragonsr2 import SIZES, build_paragonsr2
from ..nets.released import build_released
from .whole_image import has_means

ARCHITECTURE_ID = "ParagonSR2"

_PREFIX = "paragonsr2_"
_SIZES = KeyCondition.has_all("conv_in.weight", "body.0.convs.0.weight", "conv_out.weight", "gain")
_SIZES_0_1 = KeyCondition.has_all("conv_in.weight", "body.0.blocks.0.context.row.gamma", "gain")  # refused in `load`
_TIERS = KeyCondition.has_all("conv_in.weight", "conv_mid.weight", "up.0.weight", "conv_out.weight", "detail_gain")


class ParagonSR2Architecture(Architecture[nn.Module]):
    """The eight sizes and the four released tiers. Names and shapes of the tensors show which network it is."""

    def __init__(self) -> None:
        super().__init__(id=ARCHITECTURE_ID, name="ParagonSR2", detect=KeyCondition.has_any(_SIZES, _SIZES_0_1, _TIERS))

    def load(self, state_dict: StateDict) -> ImageModelDescriptor[nn.Module]:
        """Build the network of a state dict, with the scale and options that `checkpoint_detection.detect` finds.

        spandrel passes on the tensors without the description in the file. The tensors do not show `upsampler_alpha`
        and the `window_size` of a tier, so both have their defaults here. If a network was trained with other values,
        only `paragon upscale` and `load_network` give its correct image.

        The descriptor asks for images of at least 8 x 8 pixels. Half and bfloat16 are supported: their error is about
        the rounding error of the image itself. Tiling is discouraged if the network uses the whole image, with the
        content gain or with channel attention (pro). The strength of detail would differ between tiles.

        Raises:
            ValueError: The keys are ours, but the tensors fit none of our networks. The message says what does not fit.
                Or they are of a size as in version 0.1.
        """
        found = detect(state_dict)
        variant = found.registered_name.removeprefix(_PREFIX)
        build = build_paragonsr2 if variant in SIZES else build_released
        net = build(variant, scale=found.scale, **found.options)
        channels: int = found.options["in_chans"]
        global_parts = has_means(net) or any(isinstance(module, ContentGain) for module in net.modules())
        return ImageModelDescriptor(
            net,
            state_dict,
            architecture=self,
            purpose="Restoration" if found.scale == 1 else "SR",
            tags=[variant, *(name for name, value in found.options.items() if value is True)],
            supports_half=True,
            supports_bfloat16=True,
            scale=found.scale,
            input_channels=channels,
            output_channels=channels,
            size_requirements=SizeRequirements(minimum=MIN_SIDE),
            tiling=ModelTiling.DISCOURAGED if global_parts else ModelTiling.SUPPORTED,
        )


def install(registry: ArchRegistry = MAIN_REGISTRY) -> None:
    """Make spandrel's `ModelLoader` recognise our files.

    A second call does nothing. BasicSR is not needed.

    Args:
        registry: A registry of spandrel. The default is the one that every `ModelLoader` uses.

    Raises:
        DuplicateArchitectureError: The registry has a different architecture with the same id. It is not changed.
    """
    present = registry.get(ARCHITECTURE_ID)
    if present is None or not isinstance(present.architecture, ParagonSR2Architecture):
        registry.add(ArchSupport.from_architecture(ParagonSR2Architecture()))
