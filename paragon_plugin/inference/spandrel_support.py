"""Our networks in spandrel, the loader behind chaiNNer and other programs: after `install()` its `ModelLoader` takes
their files as it takes any other."""

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
_SIZES = KeyCondition.has_all("conv_in.weight", "body.0.out.gamma", "body.0.blocks.0.context.row.gamma", "gain")
_TIERS = KeyCondition.has_all("conv_in.weight", "conv_mid.weight", "up.0.weight", "conv_out.weight", "detail_gain")


class ParagonSR2Architecture(Architecture[nn.Module]):
    """The eight sizes and the four released tiers, told apart by the names and shapes of their tensors alone."""

    def __init__(self) -> None:
        super().__init__(id=ARCHITECTURE_ID, name="ParagonSR2", detect=KeyCondition.has_any(_SIZES, _TIERS))

    def load(self, state_dict: StateDict) -> ImageModelDescriptor[nn.Module]:
        """The network of a state dict, with scale and options as `checkpoint_detection.detect` finds them.

        spandrel hands over the tensors without the description that stands beside them in the file, and the tensors do
        not show `upsampler_alpha` nor a tier's `window_size`: they are the defaults here. A network trained with other
        values gives its own image through `paragon upscale` and `load_network` only.

        The descriptor asks for images of at least 8 x 8 pixels. Both short types are supported: they cost about the
        rounding of the image itself. Tiling is discouraged where the network looks at the whole image (the content
        gain, and squeeze and excite of m, l, xl and pro): tiles would differ in brightness of detail.

        Raises:
            ValueError: The keys are ours but the tensors fit none of our networks; says what does not fit.
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
    """Make spandrel's `ModelLoader` recognise our files; does nothing the second time. BasicSR is not needed.

    Args:
        registry: of spandrel; the default is the one that every `ModelLoader` uses.

    Raises:
        DuplicateArchitectureError: The registry has another architecture of the same id; it is left as it was.
    """
    present = registry.get(ARCHITECTURE_ID)
    if present is None or not isinstance(present.architecture, ParagonSR2Architecture):
        registry.add(ArchSupport.from_architecture(ParagonSR2Architecture()))
