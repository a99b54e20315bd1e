"""ParagonSRModel: BasicSR's SRModel with a recipe of any losses under the loss scheduler."""

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from basicsr.archs import build_network
from basicsr.models.sr_model import SRModel
from basicsr.utils import get_root_logger
from basicsr.utils.dist_util import master_only
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from ....errors import OptionError, errors_under, suggestion
from ....nets.paragonsr2 import refuse_version_0_1
from ....resilience.checkpoints import CheckpointError, network_metadata, read_network, save_atomically
from ....resilience.health import Health
from ....resilience.random_state import random_state, set_random_state
from ....resilience.ranks import of_all_ranks
from ....scheduling.network_size import bare, detect_size
from ....scheduling.options import LossRole
from ....scheduling.run_record import RunRecord
from ..options.optimizers import optimizers
from ..options.scheduling_block import BLOCK, scheduling_of
from ..options.step import parse_step_options
from ..recipe.recipe import RecipeLoss, build_recipe
from ..recipe.step_inputs import StepInputs
from .learnable_kernel_training import KernelLearningRate, check_resumed_groups, kernel_log, parse_lr_factor
from .optimizer_step import OptimizerStep
from .rehearsal import rehearse_step, without_loss_scale
from .resumed_optimizers import check_resumed_optimizers
from .scheduled_losses import ScheduledLosses


class ParagonSRModel(SRModel):
    """Trains one network on paired images with any number of losses.

    Takes BasicSR's options of SRModel, the `train: losses:` list, the `train: dynamic_loss_scheduling:` block and the
    options of `options.step`. With scheduling off or absent it trains step for step as SRModel does.
    """

    opt: dict[str, Any]

    def init_training_settings(self) -> None:
        self._loop_state: dict[str, Any] = {}
        self._checksums: dict[tuple[str, int | str], str] = {}
        self._log_before: dict[str, float] = {}
        self.net_g.train()
        train = self.opt["train"]
        self.ema_decay = train.get("ema_decay", 0)
        self._build_companions()
        self.step_options = parse_step_options(self.opt, gpu=self.device.type != "cpu")
        options = scheduling_of(self.opt)
        recipe = [loss.to(self.device) for loss in self._build_recipe(options.manual_weights)]
        if self.ema_decay <= 0 and any(loss.call.uses_ema for loss in recipe):
            raise OptionError("train.ema_decay", "must be above 0: an LDL loss compares with the averaged network")
        size, size_reason = detect_size(self.net_g)
        self._prepare_networks()
        self.setup_optimizers()
        self.setup_schedulers()
        self.step_g = OptimizerStep(self.step_options, self.optimizer_g, self.device)
        self.health = Health([t.name for loss in recipe for t in loss.terms if loss.compares_with_truth])
        self.health.begin(self._trained_networks())
        with errors_under(BLOCK):
            self.losses = ScheduledLosses(
                recipe,
                options,
                total_iter=int(train["total_iter"]),
                size=size,
                size_reason=size_reason,
                folder=self.opt["path"]["experiments_root"] if self.opt["rank"] == 0 else None,
                step=self.step_g,
            )

    def _build_recipe(self, manual_weights: Mapping[str, float]) -> list[RecipeLoss]:
        return self.recipe_of(self.opt["train"], manual_weights)

    @classmethod
    def recipe_of(cls, train: dict[str, Any], manual_weights: Mapping[str, float]) -> list[RecipeLoss]:
        """The losses that this model builds from the options under `train:`."""
        return build_recipe(train, manual_weights)

    @classmethod
    def needed_options(cls, _options: Mapping[str, Any]) -> Sequence[str]:
        """Names at the top of the option file that it cannot do without."""
        return ()

    @classmethod
    def readers_of_options(cls) -> tuple[type, ...]:
        """Classes whose source names the options that it reads."""
        return (cls,)

    def rehearse(self, batch: Mapping[str, Any]) -> dict[str, float]:
        """One real optimizer step of everything on a batch of the training set; the model changes.

        Returns the value of each loss.

        Raises:
            OptionError: Something does not fit.
        """
        with without_loss_scale(self._optimizer_steps()):
            return rehearse_step(self, batch)

    def _build_companions(self) -> None:
        """The networks beside the trained one, in the host's order: each draws from the random state."""
        if self.ema_decay <= 0:
            return
        get_root_logger().info(f"Use Exponential Moving Average with decay: {self.ema_decay}")
        self.net_g_ema = build_network(self.opt["network_g"]).to(self.device)
        path = self.opt["path"].get("pretrain_network_g")
        if path is not None:
            self.load_network(self.net_g_ema, path, self.opt["path"].get("strict_load_g", True), "params_ema")
        else:
            self.model_ema(0)
        self.net_g_ema.eval()

    def _prepare_networks(self) -> None:
        """Layout and compilation of the networks that train."""
        if self.step_options.channels_last:
            self.net_g.to(memory_format=torch.channels_last)
        if self.step_options.compile:
            self.net_g.compile()  # in place: names of parameters and wrappers stay as they are

    def model_to_device(self, net: nn.Module) -> nn.Module:
        """As the host's, except that a distributed run without a GPU names no device."""
        if self.opt["dist"] and self.device.type == "cpu":
            find_unused = self.opt.get("find_unused_parameters", False)
            return DistributedDataParallel(net.to(self.device), find_unused_parameters=find_unused)
        return super().model_to_device(net)

    def get_bare_model(self, net: nn.Module) -> nn.Module:
        """The network inside distributed and compiled wrappers."""
        return bare(net)

    def get_optimizer(self, optim_type: str, params: Any, lr: float, **kwargs: Any) -> Any:
        """An optimizer of torch.optim by name, see `optimizers`; the host knows Adam alone.

        Raises:
            OptionError: There is none of that name.
        """
        known: dict[str, Any] = optimizers()  # any, for they take different options
        if optim_type not in known:
            raise OptionError("train.optim_g.type", f"no optimizer '{optim_type}'{suggestion(optim_type, known)}")
        return known[optim_type](params, lr=lr, **kwargs)

    def setup_optimizers(self) -> None:
        super().setup_optimizers()
        factor = parse_lr_factor(self.opt["train"])
        self.kernel_rate = None if factor is None else KernelLearningRate(self.optimizer_g, self.net_g, factor)

    def update_learning_rate(self, current_iter: int, warmup_iter: int = -1) -> None:
        super().update_learning_rate(current_iter, warmup_iter)
        if self.kernel_rate is not None:
            self.kernel_rate.follow()

    # -- one step --------------------------------------------------------------------------------------------------

    def optimize_parameters(self, current_iter: int) -> None:
        """One training step on the batch of `feed_data`."""
        self._train_generator(current_iter)
        if self.stepped and self.ema_decay > 0:
            self.model_ema(decay=self.ema_decay)

    def _train_generator(self, iteration: int) -> None:
        """One optimizer step of the network; `stepped` is False where a loss was not finite, or float16 overflowed."""
        self.stepped = False
        self.step_g.zero_grad()
        parts = self._parts()
        self.losses.begin(iteration, len(parts))
        self._log_before = {}
        outputs: list[Tensor] = []
        for number, part in enumerate(parts, start=1):
            with self._reduce_gradients(self.net_g, number == len(parts)):
                with self.step_g.autocast():
                    output = self.net_g(self._laid_out(self.lq[part]))
                outputs.append(output.detach())
                self.losses.backward(output, self.loss_inputs(part))
        self.output = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
        ready = self.losses.ready()
        self.health.observe(self.losses.latest())
        if not ready:
            self.step_g.zero_grad()
            return
        self.stepped = self.step_g.step(self.net_g.parameters())
        self.losses.commit(self.stepped)

    def loss_inputs(self, part: slice = slice(None)) -> StepInputs:
        """What the losses compare the output of a part of the batch with."""
        return StepInputs(self.gt[part], self._targets(part), self._ema_output(part))

    def _targets(self, _part: slice) -> dict[LossRole, Tensor]:
        """Ground truth in another form for some roles."""
        return {}

    @torch.no_grad()
    def _ema_output(self, part: slice) -> Tensor | None:
        if not any(loss.call.uses_ema for loss in self.losses.recipe):
            return None
        with self.step_g.autocast():
            return self.net_g_ema(self.lq[part]).float()

    def _parts(self) -> list[slice]:
        """The parts that a batch is computed in: accum_iter equal ones."""
        count, samples = self.step_options.accum_iter, len(self.lq)
        size = -(-samples // count)
        return [slice(first, first + size) for first in range(0, samples, size)]

    def _laid_out(self, images: Tensor) -> Tensor:
        return images.contiguous(memory_format=torch.channels_last) if self.step_options.channels_last else images

    @contextlib.contextmanager
    def _reduce_gradients(self, net: nn.Module, last: bool) -> Iterator[None]:
        """Ranks exchange gradients at the last part only."""
        if last or not isinstance(net, DistributedDataParallel):
            yield
        else:
            with net.no_sync():
                yield

    def get_current_log(self) -> dict[str, float]:
        return self._log_before | self.losses.log() | kernel_log(self.net_g)

    def progress(self) -> dict[str, str]:
        """Short texts for a progress line, by loss."""
        return self.losses.progress()

    def schedule_summary(self) -> list[str]:
        """What the scheduler did over the run, a line per loss."""
        return self.losses.summary()

    def run_record(self) -> RunRecord | None:
        """The record of the run; None on ranks other than 0."""
        return self.losses.record

    # -- validation ------------------------------------------------------------------------------------------------

    def test(self) -> None:
        """Upscale `lq` with the averaged network, or the trained one where there is none.

        Networks with a `window_size` of their own get images padded to multiples of it by reflection, as the host's
        SwinIRModel does.
        """
        net = self.net_g_ema if hasattr(self, "net_g_ema") else self.get_bare_model(self.net_g)
        lq, height, width = self.lq, *self.lq.shape[-2:]
        window = self.opt["network_g"].get("window_size")
        if isinstance(window, int) and not str(self.opt["network_g"]["type"]).startswith("paragonsr2"):
            lq = F.pad(lq, (0, -width % window, 0, -height % window), "reflect")
        net.eval()
        with torch.no_grad():
            # Not through __call__: a compiled network would compile anew for every image size.
            output = net.forward(lq)
        if not hasattr(self, "net_g_ema"):
            self.net_g.train()
        scale = output.shape[-1] // lq.shape[-1]
        self.output = output[..., : height * scale, : width * scale]

    def nondist_validation(self, dataloader: Any, current_iter: int | None, tb_logger: Any, save_img: bool) -> None:
        """As the host's; a network that is the best so far is kept as `net_g_best.pth`.

        Without an iteration it is a rehearsal, and at iteration 0 nothing is trained: nothing is kept.
        """
        super().nondist_validation(dataloader, current_iter, tb_logger, save_img)
        if self.opt["is_train"] and current_iter and self._is_best(dataloader.dataset.opt["name"], current_iter):
            self._save_generator("best")

    def _is_best(self, dataset: str, iteration: int) -> bool:
        """Whether the first metric of the first validation set has its best value at this iteration."""
        first_set = next((block["name"] for block in self.opt["datasets"].values() if block["phase"] == "val"), None)
        first_metric = next(iter(self.opt["val"].get("metrics") or ()), None)
        if dataset != first_set or first_metric is None:
            return False
        return self.best_metric_results[dataset][first_metric]["iter"] == iteration

    # -- checkpoints -----------------------------------------------------------------------------------------------

    def load_network(
        self, net: nn.Module, load_path: str, strict: bool = True, param_key: str | None = "params"
    ) -> None:
        """Load weights from `.pth` or `.safetensors`, without running anything in the file.

        `param_key` where the file has it, else `params_ema`, `params` or the top level; None for the top level alone.
        """
        net = self.get_bare_model(net)
        weights = read_network(load_path, param_key)
        try:
            refuse_version_0_1(weights)
        except ValueError as error:
            raise CheckpointError(load_path, str(error)) from error
        get_root_logger().info(f"Loading {net.__class__.__name__} from {load_path}, wanted key: {param_key}.")
        self._print_different_keys_loading(net, weights, strict)
        net.load_state_dict(weights, strict=strict)

    def save(self, epoch: int, current_iter: int) -> None:
        """Save the networks, then the training state: a state on disk always has its networks."""
        self._save_generator("latest" if current_iter == -1 else current_iter)
        self.save_training_state(epoch, current_iter)

    def _save_generator(self, label: int | str) -> None:
        if hasattr(self, "net_g_ema"):
            self.save_network([self.net_g, self.net_g_ema], "net_g", label, ["params", "params_ema"])
        else:
            self.save_network(self.net_g, "net_g", label)

    @master_only
    def save_network(
        self,
        net: nn.Module | list[nn.Module],
        net_label: str,
        current_iter: int | str,
        param_key: str | list[str] = "params",
    ) -> None:
        """Write `models/<label>_<iteration>.pth` in the host's layout; see `save_atomically` for its guarantees."""
        nets = net if isinstance(net, list) else [net]
        keys = param_key if isinstance(param_key, list) else [param_key]
        state: dict[str, Any] = {
            key: {name: value.cpu() for name, value in self.get_bare_model(n).state_dict().items()}
            for key, n in zip(keys, nets, strict=True)
        }
        if net_label == "net_g":
            bare_net = self.get_bare_model(nets[0])
            state["paragon"] = network_metadata(self.opt["network_g"], bare_net, self.opt.get("scale")).plain()
        label = "latest" if current_iter == -1 else current_iter
        self._checksums[net_label, label] = save_atomically(
            state, f"{self.opt['path']['models']}/{net_label}_{label}.pth"
        )

    def save_training_state(self, epoch: int, current_iter: int) -> None:
        """Write `training_states/<iteration>.state`: what the host saves and everything that this model adds.

        `networks` holds the checksums of the networks saved at this iteration, `ranks` what each rank has of its own.
        Every rank must call it; rank 0 writes.
        """
        if current_iter == -1:
            return
        ranks = of_all_ranks(self._rank_state())
        if ranks is None:
            return
        state = {
            "epoch": epoch,
            "iter": current_iter,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "optimizer_types": [type(optimizer).__name__ for optimizer in self.optimizers],
            "schedulers": [scheduler.state_dict() for scheduler in self.schedulers],
            "losses": self.losses.state_dict(),
            "log": self.get_current_log(),
            "scalers": [step.state_dict() for step in self._optimizer_steps()],
            "best_metric_results": _plain_metrics(getattr(self, "best_metric_results", {})),
            "health": {"trouble": self.trouble(), **self.health.state_dict()},
            "networks": {name: checksum for (name, at), checksum in self._checksums.items() if at == current_iter},
            "ranks": ranks,
            **self._loop_state,
        }
        save_atomically(state, f"{self.opt['path']['training_states']}/{current_iter}.state")

    def trouble(self) -> str:
        """What is the matter with the run now, in words; empty where it is healthy."""
        return self.health.trouble(self._trained_networks())

    def _trained_networks(self) -> dict[str, nn.Module]:
        names = [name for name in ("net_g", "net_g_ema", "net_d") if hasattr(self, name)]
        return {name: self.get_bare_model(getattr(self, name)) for name in names}

    def set_loop_state(self, state: Mapping[str, Any]) -> None:
        """What the training loop wants to find in every training state from now on."""
        self._loop_state = dict(state)

    def _rank_state(self) -> dict[str, Any]:
        """What this rank goes on from and other ranks do not share."""
        return {"random": random_state()}

    def _optimizer_steps(self) -> list[OptimizerStep]:
        return [self.step_g]

    def resume_training(self, resume_state: dict[str, Any]) -> None:
        """Go on from a state of `save_training_state` or of the host; its networks have been loaded."""
        check_resumed_optimizers(self.optimizers, resume_state)
        check_resumed_groups(self.optimizer_g, resume_state["optimizers"])
        super().resume_training(resume_state)
        self.losses.load_state_dict(resume_state.get("losses", {}), resume_state["iter"])
        self.health.load_state_dict(resume_state.get("health", {}))
        self._log_before = dict(resume_state.get("log", {}))
        for step, state in zip(self._optimizer_steps(), resume_state.get("scalers", []), strict=False):
            step.load_state_dict(state)
        self._resume_best_metrics(resume_state.get("best_metric_results") or {})
        ranks = resume_state.get("ranks", [])
        if self.opt["rank"] < len(ranks):
            self._load_rank_state(ranks[self.opt["rank"]])

    def _resume_best_metrics(self, saved: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
        """Take over what is best so far of the metrics that the option file still asks for, in the same sense."""
        if not (self.opt.get("val") or {}).get("metrics"):
            return
        for dataset, records in saved.items():
            self._initialize_best_metric_results(dataset)
            best = self.best_metric_results[dataset]
            best |= {
                metric: deepcopy(dict(record))
                for metric, record in records.items()
                if metric in best and best[metric]["better"] == record["better"] and math.isfinite(record["val"])
            }

    def _load_rank_state(self, state: dict[str, Any]) -> None:
        set_random_state(state["random"])


def _plain_metrics(best: dict[str, dict[str, dict[str, Any]]]) -> dict[str, dict[str, dict[str, Any]]]:
    """The host's record without numpy's numbers, which do not load without running code."""
    return {
        dataset: {metric: {**record, "val": float(record["val"])} for metric, record in metrics.items()}
        for dataset, metrics in best.items()
    }
