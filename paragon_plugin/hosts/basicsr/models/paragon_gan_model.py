"""ParagonGANModel and ParagonESRGANModel: a generator under the loss scheduler, and its discriminator."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from basicsr.archs import build_network
from torch import Tensor

from ....errors import OptionError, whole_number
from ....resilience.ranks import any_rank
from ....scheduling import NonFiniteLossError
from ..options.scheduling_block import scheduling_of
from ..recipe.discriminator_pass import DiscriminatorPass
from ..recipe.recipe import RecipeLoss, build_recipe
from ..recipe.step_inputs import StepInputs
from .optimizer_step import OptimizerStep
from .paragon_sr_model import ParagonSRModel
from .rehearsal import refused_as, rehearse_step, require_finite, take_step, without_loss_scale


class ParagonGANModel(ParagonSRModel):
    """Trains a generator with any losses and one adversarial loss, and its discriminator.

    Takes BasicSR's options of SRGANModel: `network_d`, `optim_d`, `gan_opt` (or an entry of `losses` with a
    `gan_type`), `net_d_iters`, `net_d_init_iters`, `pretrain_network_d`. `relativistic: true` in the adversarial block
    is the way of ESRGANModel. With scheduling off it trains step for step as the host's model does.

    The discriminator starts with its loss: before `start_iter` of the adversarial loss it does not train.
    """

    relativistic = False
    """What an adversarial block means that does not say."""

    def _build_companions(self) -> None:
        super()._build_companions()
        if not isinstance(self.opt.get("network_d"), dict):
            raise OptionError("network_d", "is missing; this model trains a discriminator, such as UNetDiscriminatorSN")
        if not isinstance(self.opt["train"].get("optim_d"), dict):
            raise OptionError("train.optim_d", "is missing; the discriminator has an optimizer of its own")
        self.net_d = self.model_to_device(build_network(self.opt["network_d"]))
        self.print_network(self.net_d)
        path = self.opt["path"].get("pretrain_network_d")
        if path is not None:
            key = self.opt["path"].get("param_key_d", "params")
            self.load_network(self.net_d, path, self.opt["path"].get("strict_load_d", True), key)
        self.net_d.train()

    def init_training_settings(self) -> None:
        super().init_training_settings()
        train = self.opt["train"]
        self.net_d_iters = whole_number("train.net_d_iters", train.get("net_d_iters", 1), 1)
        self.net_d_init_iters = whole_number("train.net_d_init_iters", train.get("net_d_init_iters", 0), 0)
        self.step_d = OptimizerStep(self.step_options, self.optimizer_d, self.device)
        self.log_d: dict[str, Tensor | float] = {}
        self._nonfinite_d = 0

    def _build_recipe(self, manual_weights: Mapping[str, float]) -> list[RecipeLoss]:
        recipe = super()._build_recipe(manual_weights)
        adversarial = [loss for loss in recipe if hasattr(loss.criterion, "gan_type")]
        if len(adversarial) != 1:
            names = ", ".join(loss.terms[0].name for loss in adversarial) or "none"
            raise OptionError("train", f"needs one adversarial loss (gan_opt: type: GANLoss), has {names}")
        self.adversarial = adversarial[0]
        self.keeps_features = any(loss.call.uses_features for loss in recipe)
        return recipe

    @classmethod
    def recipe_of(cls, train: dict[str, Any], manual_weights: Mapping[str, float]) -> list[RecipeLoss]:
        return build_recipe(train, manual_weights, discriminator=True, relativistic=cls.relativistic)

    def _prepare_networks(self) -> None:
        super()._prepare_networks()
        if self.step_options.channels_last:
            self.net_d.to(memory_format=torch.channels_last)

    def setup_optimizers(self) -> None:
        super().setup_optimizers()
        options = dict(self.opt["train"]["optim_d"])
        self.optimizer_d = self.get_optimizer(options.pop("type"), self.net_d.parameters(), **options)
        self.optimizers.append(self.optimizer_d)

    def rehearse(self, batch: Mapping[str, Any]) -> dict[str, float]:
        """With a step of the discriminator, however late it begins."""
        self.net_d.requires_grad_(False)
        with without_loss_scale(self._optimizer_steps()):
            values = rehearse_step(self, batch)
            self.net_d.requires_grad_(True)
            self.step_d.zero_grad()
            with refused_as("network_d"):
                log = self._judge_batch()
            require_finite("network_d", {name: torch.as_tensor(value) for name, value in log.items()})
            take_step("network_d", "train.optim_d", self.net_d, self.step_d)
        return values | {name: float(value) for name, value in log.items()}

    # -- one step --------------------------------------------------------------------------------------------------

    def optimize_parameters(self, current_iter: int) -> None:
        """One step of the generator, where it is its turn, then one of the discriminator."""
        self.net_d.requires_grad_(False)
        its_turn = current_iter % self.net_d_iters == 0 and current_iter > self.net_d_init_iters
        if its_turn:
            self._train_generator(current_iter)
            if not self.stepped:
                return  # not finite, or overflowed: the step is left out for the discriminator as well
        else:
            self._upscale_only()
        if self.adversarial.active(current_iter):
            self.net_d.requires_grad_(True)
            self._train_discriminator()
        if self.ema_decay > 0:
            self.model_ema(decay=self.ema_decay)

    def _upscale_only(self) -> None:
        """The output for the discriminator, where the generator does not train."""
        outputs: list[Tensor] = []
        for part in self._parts():
            with torch.no_grad(), self.step_g.autocast():
                outputs.append(self.net_g(self._laid_out(self.lq[part])))
        self.output = outputs[0] if len(outputs) == 1 else torch.cat(outputs)

    def loss_inputs(self, part: slice = slice(None)) -> StepInputs:
        inputs = super().loss_inputs(part)
        judged = DiscriminatorPass(
            # Not through its distributed wrapper, which would expect gradients of its parameters.
            self.get_bare_model(self.net_d),
            inputs.target("adversarial"),
            keep_features=self.keeps_features,
        )
        return StepInputs(inputs.gt, inputs.targets, inputs.ema_output, judged)

    def _train_discriminator(self) -> None:
        """One step of the discriminator; left out where its losses are not finite, as the generator's is.

        Raises:
            NonFiniteLossError: They were not finite for too many steps in a row.
        """
        averages = {b: b.clone() for name, b in self.net_d.named_buffers() if "running_" in name}
        self.step_d.zero_grad()
        log = self._judge_batch()
        self.log_d = {**log}
        names = ("l_d_real", "l_d_fake")
        values: list[float] = torch.stack([log[name].float() for name in names]).tolist()
        losses: dict[str, Tensor | float] = dict(zip(names, values, strict=True))
        self.health.observe(losses)
        broken = [name for name, value in zip(names, values, strict=True) if not math.isfinite(value)]
        if any_rank(bool(broken)):
            self.step_d.zero_grad()
            for average, before in averages.items():
                average.copy_(before)
            self._nonfinite_d += 1
            if self._nonfinite_d >= scheduling_of(self.opt).max_nonfinite_steps:
                raise NonFiniteLossError(broken or list(losses), self._nonfinite_d)
        else:
            self._nonfinite_d = 0
            self.step_d.step(self.net_d.parameters())

    def _judge_batch(self) -> dict[str, Tensor]:
        """Real and fake images in turn, as the host does it: each with a backward pass of its own. Returns the log."""
        parts = self._parts()
        log: dict[str, Tensor] = {}
        for number, part in enumerate(parts, start=1):
            real: Tensor = self._targets(part).get("adversarial", self.gt[part])  # pyright: ignore[reportAssignmentType]
            judged = self.output[part]
            with self._reduce_gradients(self.net_d, number == len(parts)):
                judge = self._judge_relativistic if self.adversarial.call.relativistic else self._judge
                for name, value in judge(real, judged, len(parts)).items():
                    log[name] = log[name] + value / len(parts) if name in log else value / len(parts)
        return log

    def _judge(self, real: Tensor, fake: Tensor, parts: int) -> dict[str, Tensor]:
        criterion = self.adversarial.criterion
        with self.step_d.autocast():
            real_pred = self.net_d(real)
            l_real = criterion(real_pred, True, is_disc=True)
        self._backward_d(l_real, parts)
        with self.step_d.autocast():
            fake_pred = self.net_d(fake)
            l_fake = criterion(fake_pred, False, is_disc=True)
        self._backward_d(l_fake, parts)
        return _log_of(l_real, l_fake, real_pred, fake_pred)

    def _judge_relativistic(self, real: Tensor, fake: Tensor, parts: int) -> dict[str, Tensor]:
        """Each side against the mean of the other, which is a constant."""
        criterion = self.adversarial.criterion
        with self.step_d.autocast():
            with torch.no_grad():
                fake_mean = self.net_d(fake).mean()
            real_pred = self.net_d(real)
            l_real = criterion(real_pred - fake_mean, True, is_disc=True) * 0.5
        self._backward_d(l_real, parts)
        with self.step_d.autocast():
            fake_pred = self.net_d(fake)
            l_fake = criterion(fake_pred - real_pred.detach().mean(), False, is_disc=True) * 0.5
        self._backward_d(l_fake, parts)
        return _log_of(l_real, l_fake, real_pred, fake_pred)

    def _backward_d(self, loss: Tensor, parts: int) -> None:
        loss = loss if parts == 1 else loss / parts
        scale = self.step_d.loss_scale()
        (loss if scale is None else loss * scale).backward()

    # -- logs and checkpoints --------------------------------------------------------------------------------------

    def get_current_log(self) -> dict[str, float]:
        return super().get_current_log() | {name: float(value) for name, value in self.log_d.items()}

    def save(self, epoch: int, current_iter: int) -> None:
        self.save_network(self.net_d, "net_d", current_iter)
        super().save(epoch, current_iter)

    def _optimizer_steps(self) -> list[OptimizerStep]:
        return [self.step_g, self.step_d]

    def resume_training(self, resume_state: dict[str, Any]) -> None:
        super().resume_training(resume_state)
        self.log_d = {name: value for name, value in resume_state.get("log", {}).items() if name in _LOG_D}


class ParagonESRGANModel(ParagonGANModel):
    """ParagonGANModel whose adversarial loss is relativistic where its block does not say, as in ESRGANModel."""

    relativistic = True


_LOG_D = ("l_d_real", "l_d_fake", "out_d_real", "out_d_fake")


def _log_of(l_real: Tensor, l_fake: Tensor, real_pred: Any, fake_pred: Any) -> dict[str, Tensor]:
    """What the host logs of a discriminator, on the device."""
    log = {"l_d_real": l_real.detach(), "l_d_fake": l_fake.detach()}
    if isinstance(real_pred, Tensor):
        log |= {"out_d_real": real_pred.detach().mean(), "out_d_fake": fake_pred.detach().mean()}
    return log
