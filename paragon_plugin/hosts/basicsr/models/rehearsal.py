"""What a model does before a run begins: each of its losses, once, on one item."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.utils.data import default_collate

from ....errors import OptionError


def rehearse_losses(model: Any, item: Mapping[str, Any]) -> None:
    """Every loss of a model on what its network makes of one item of the training set.

    Raises:
        OptionError: The item, the network or a loss does not fit the others.
    """
    try:
        model.feed_data(default_collate([item]))
    except KeyError as error:
        raise OptionError("datasets.train", f"gives no {error}, which {type(model).__name__} needs") from error
    with _evaluating(model):
        try:
            with torch.no_grad():
                output = model.get_bare_model(model.net_g).forward(model.lq)
        except Exception as error:
            raise OptionError("network_g", str(error)) from error
        if output.shape != model.gt.shape:
            raise OptionError("network_g", f"gives {tuple(output.shape)} where images are {tuple(model.gt.shape)}")
        inputs = model.loss_inputs()
        for loss in model.losses.recipe:
            where = "network_d" if loss.call.uses_discriminator else "train"
            try:
                values = loss(output.clone().requires_grad_(), inputs)
            except Exception as error:
                text = f"{', '.join(t.name for t in loss.terms)}: {error}"
                raise OptionError(where, text) from error
            for name, value in values.items():
                if value.dim() != 0:
                    raise OptionError(
                        "train", f"{name} must be one number, is {tuple(value.shape)}; use reduction: mean"
                    )
    del model.lq, model.gt


@contextlib.contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """Networks in evaluation mode: running averages and spectral norms stay as they are."""
    nets = [model.get_bare_model(getattr(model, name)) for name in ("net_g", "net_d") if hasattr(model, name)]
    for net in nets:
        net.eval()
    try:
        yield
    finally:
        for net in nets:
            net.train()
