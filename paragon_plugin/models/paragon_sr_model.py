"""ParagonSRModel: BasicSR's SRModel with a recipe of any losses under the loss scheduler."""

from copy import deepcopy
from typing import Any

from basicsr.archs import build_network
from basicsr.models.sr_model import SRModel
from basicsr.utils import get_root_logger
from basicsr.utils.dist_util import master_only
from basicsr.utils.registry import MODEL_REGISTRY
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ..hosts.basicsr.checkpoints import save_atomically
from ..hosts.basicsr.registration import register
from ..losses.recipe import build_recipe
from ..options import parse_dynamic_loss_scheduling
from .scheduled_losses import ScheduledLosses
from .size_detection import detect_size


@register(MODEL_REGISTRY)
class ParagonSRModel(SRModel):
    """Trains one network on paired images with any number of losses.

    Takes BasicSR's options of SRModel, the `train: losses:` list and the `train: dynamic_loss_scheduling:` block.
    With scheduling off or absent it trains step for step as SRModel does.
    """

    opt: dict[str, Any]
    schedules_losses = True
    """Knows the `losses` list and the `dynamic_loss_scheduling` block."""

    def init_training_settings(self) -> None:
        self.net_g.train()
        train = self.opt["train"]
        self.ema_decay = train.get("ema_decay", 0)
        if self.ema_decay > 0:
            self._init_ema()
        options = parse_dynamic_loss_scheduling(train.get("dynamic_loss_scheduling"))
        recipe = build_recipe(train, options.manual_weights)
        size, size_reason = detect_size(self.net_g)
        self.losses = ScheduledLosses(
            [loss.to(self.device) for loss in recipe],
            options,
            total_iter=int(train["total_iter"]),
            size=size,
            size_reason=size_reason,
            folder=self.opt["path"]["experiments_root"] if self.opt["rank"] == 0 else None,
        )
        self.setup_optimizers()
        self.setup_schedulers()

    def _init_ema(self) -> None:
        get_root_logger().info(f"Use Exponential Moving Average with decay: {self.ema_decay}")
        self.net_g_ema = build_network(self.opt["network_g"]).to(self.device)
        path = self.opt["path"].get("pretrain_network_g")
        if path is not None:
            self.load_network(self.net_g_ema, path, self.opt["path"].get("strict_load_g", True), "params_ema")
        else:
            self.model_ema(0)
        self.net_g_ema.eval()

    def model_to_device(self, net: nn.Module) -> nn.Module:
        """As the host's, except that a distributed run without a GPU names no device."""
        if self.opt["dist"] and self.device.type == "cpu":
            find_unused = self.opt.get("find_unused_parameters", False)
            return DistributedDataParallel(net.to(self.device), find_unused_parameters=find_unused)
        return super().model_to_device(net)

    def optimize_parameters(self, current_iter: int) -> None:
        """One training step on the batch of `feed_data`."""
        self.optimizer_g.zero_grad()
        self.output = self.net_g(self.lq)
        if not self.losses.backward(self.output, self.gt, current_iter):
            return
        self.optimizer_g.step()
        if self.ema_decay > 0:
            self.model_ema(decay=self.ema_decay)

    def get_current_log(self) -> dict[str, float]:
        return self.losses.log()

    # -- checkpoints -----------------------------------------------------------------------------------------------

    def save(self, epoch: int, current_iter: int) -> None:
        """Save the network, then the training state: a state on disk always has its network."""
        if hasattr(self, "net_g_ema"):
            self.save_network([self.net_g, self.net_g_ema], "net_g", current_iter, ["params", "params_ema"])
        else:
            self.save_network(self.net_g, "net_g", current_iter)
        self.save_training_state(epoch, current_iter)

    @master_only
    def save_network(
        self,
        net: nn.Module | list[nn.Module],
        net_label: str,
        current_iter: int,
        param_key: str | list[str] = "params",
    ) -> None:
        """Write `models/<label>_<iteration>.pth` in the host's layout; see `save_atomically` for its guarantees."""
        nets = net if isinstance(net, list) else [net]
        keys = param_key if isinstance(param_key, list) else [param_key]
        state = {
            key: {name: value.cpu() for name, value in self.get_bare_model(n).state_dict().items()}
            for key, n in zip(keys, nets, strict=True)
        }
        label = "latest" if current_iter == -1 else current_iter
        save_atomically(state, f"{self.opt['path']['models']}/{net_label}_{label}.pth")

    @master_only
    def save_training_state(self, epoch: int, current_iter: int) -> None:
        """Write `training_states/<iteration>.state`: what the host saves, the loss scheduler and the best metrics."""
        if current_iter == -1:
            return
        state = {
            "epoch": epoch,
            "iter": current_iter,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "schedulers": [scheduler.state_dict() for scheduler in self.schedulers],
            "losses": self.losses.state_dict(),
            "best_metric_results": deepcopy(getattr(self, "best_metric_results", {})),
        }
        save_atomically(state, f"{self.opt['path']['training_states']}/{current_iter}.state")

    def resume_training(self, resume_state: dict[str, Any]) -> None:
        super().resume_training(resume_state)
        self.losses.load_state_dict(resume_state.get("losses", {}), resume_state["iter"])
        if resume_state.get("best_metric_results"):
            self.best_metric_results = deepcopy(resume_state["best_metric_results"])
