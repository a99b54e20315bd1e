"""The repairs of BasicSR 1.4.2. The comment at each one says what it repairs and when it can be removed."""

import functools
import importlib.machinery
import importlib.util
import sys
import types
from typing import Any


def provide_functional_tensor() -> None:
    """BasicSR imports `rgb_to_grayscale` from a torchvision module that torchvision 0.17 removed.

    May go when basicsr/data/degradations.py imports it from torchvision.transforms.functional.
    """
    name = "torchvision.transforms.functional_tensor"
    if name in sys.modules or importlib.util.find_spec(name) is not None:
        return
    from torchvision.transforms.functional import rgb_to_grayscale

    module = types.ModuleType(name, doc="Stands in for the module that torchvision 0.17 removed.")
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    module.rgb_to_grayscale = rgb_to_grayscale  # type: ignore[attr-defined]
    sys.modules[name] = module


def apply() -> None:
    """Apply every repair that needs BasicSR imported."""
    _whole_jpeg_quality()
    _filter_any_layout()
    _safe_options()
    _resume_anywhere()
    _rate_of_file_and_iteration()
    _lists_as_people_write_them()
    _distributed_without_gpu()
    _validation_of_any_images()
    _names_found_quietly()
    _wandb_of_today()


def _whole_jpeg_quality() -> None:
    """Real-ESRGAN's degradations draw a fractional JPEG quality, which OpenCV 5 refuses.

    May go when add_jpg_compression rounds the quality itself.
    """
    from basicsr.data import degradations

    original = degradations.add_jpg_compression
    if getattr(original, "_paragon", False):
        return

    @functools.wraps(original)
    def add_jpg_compression(img: Any, quality: float = 90) -> Any:
        return original(img, int(quality))

    add_jpg_compression._paragon = True  # type: ignore[attr-defined]
    degradations.add_jpg_compression = add_jpg_compression


def _filter_any_layout() -> None:
    """BasicSR's filter2D takes a view that images in channels-last layout do not have; its own JPEG gives such images.

    May go when filter2D reshapes.
    """
    from basicsr.models import realesrgan_model, realesrnet_model
    from basicsr.utils import img_process_util

    original = img_process_util.filter2D
    if getattr(original, "_paragon", False):
        return

    @functools.wraps(original)
    def filter2D(img: Any, kernel: Any) -> Any:  # noqa: N802
        return original(img.contiguous(), kernel)

    filter2D._paragon = True  # type: ignore[attr-defined]
    for module in (img_process_util, realesrgan_model, realesrnet_model):
        module.filter2D = filter2D  # type: ignore[attr-defined]


def _safe_options() -> None:
    """BasicSR reads option files with a YAML loader that can run code, and `--force_yml` through exec and eval.

    May go when BasicSR loads options safely.
    """
    import basicsr.test
    import basicsr.train
    import basicsr.utils.options

    from .options import file as option_file

    basicsr.utils.options.parse_options = option_file.parse_options
    basicsr.train.parse_options = option_file.parse_options
    basicsr.test.parse_options = option_file.parse_options


def _resume_anywhere() -> None:
    """BasicSR asks for the current CUDA device to resume, which raises on a machine without a GPU.

    May go when load_resume_state maps to the CPU.
    """
    import basicsr.train

    from .run import resume

    basicsr.train.load_resume_state = resume.load_resume_state


def _rate_of_file_and_iteration() -> None:
    """BasicSR multiplies the rate that it finds, over a warm-up that writes it, and resumes the saved schedule.

    So warm-up with MultiStepLR never reaches the full rate, and a milestone that was moved behind the place of a resume
    never acts. A model with schedulers of its own keeps them. May go when the host's schedulers have a closed form.
    """
    from collections.abc import Mapping

    from basicsr.models.base_model import BaseModel
    from basicsr.models.lr_scheduler import CosineAnnealingRestartLR, MultiStepRestartLR

    from .options.learning_rate import rate_at

    update, resume = BaseModel.update_learning_rate, BaseModel.resume_training
    if getattr(update, "_paragon", False):
        return

    def schedule_of(scheduler: Any) -> tuple[str, dict[str, Any]] | None:
        """Its name in the option file and its options; None where it is none of the host's."""
        if type(scheduler) is MultiStepRestartLR:
            milestones: Any = scheduler.milestones  # counted
            options = {"milestones": list(milestones.elements())}
            options |= {key: getattr(scheduler, key) for key in ("gamma", "restarts", "restart_weights")}
            return "MultiStepLR", options
        if type(scheduler) is CosineAnnealingRestartLR:
            keys = ("periods", "restart_weights", "eta_min")
            return "CosineAnnealingRestartLR", {key: getattr(scheduler, key) for key in keys}
        return None

    @functools.wraps(update)
    def update_learning_rate(self: Any, current_iter: int, warmup_iter: int = -1) -> None:
        schedules = [found for scheduler in self.schedulers if (found := schedule_of(scheduler)) is not None]
        if not schedules or len(schedules) < len(self.schedulers):
            update(self, current_iter, warmup_iter)
            return
        for scheduler, schedule in zip(self.schedulers, schedules, strict=True):
            for group in scheduler.optimizer.param_groups:
                group["lr"] = rate_at(group["initial_lr"], current_iter, warmup_iter, *schedule)
            scheduler.last_epoch = current_iter - 1
            scheduler._last_lr = [group["lr"] for group in scheduler.optimizer.param_groups]

    @functools.wraps(resume)
    def resume_training(self: Any, resume_state: Mapping[str, Any]) -> None:
        if None not in [schedule_of(scheduler) for scheduler in self.schedulers]:
            schedulers = [scheduler.state_dict() for scheduler in self.schedulers]
            for own, saved in zip(schedulers, resume_state["schedulers"], strict=False):
                own |= {key: saved[key] for key in ("last_epoch", "_last_lr") if key in saved}
            resume_state = {**resume_state, "schedulers": schedulers}
        rates = [
            [group.get("initial_lr", group["lr"]) for group in optimizer.param_groups] for optimizer in self.optimizers
        ]
        resume(self, resume_state)
        for optimizer, full in zip(self.optimizers, rates, strict=True):
            for group, rate in zip(optimizer.param_groups, full, strict=True):
                group["initial_lr"] = rate

    update_learning_rate._paragon = True  # type: ignore[attr-defined]
    BaseModel.update_learning_rate = update_learning_rate
    BaseModel.resume_training = resume_training


def _lists_as_people_write_them() -> None:
    """BasicSR cuts a line of `meta_info` at its first space, and takes an empty line for the folder itself.

    May go when its datasets read such lists otherwise.
    """
    import os

    from basicsr.data import data_util, paired_image_dataset, realesrgan_dataset, realesrgan_paired_dataset
    from basicsr.data import single_image_dataset as single

    from .options.meta_info import first_name, read_meta_info, two_names

    if getattr(data_util.paired_paths_from_meta_info_file, "_paragon", False):
        return

    def paired_paths(folders: Any, keys: Any, meta_info_file: str, filename_tmpl: str) -> list[dict[str, str]]:
        paths = []
        for line in read_meta_info(meta_info_file):
            name = first_name(line)
            stem, extension = os.path.splitext(os.path.basename(name))
            files = (f"{filename_tmpl.format(stem)}{extension}", name)
            paths.append({f"{k}_path": os.path.join(f, n) for k, f, n in zip(keys, folders, files, strict=True)})
        return paths

    paired_paths._paragon = True  # type: ignore[attr-defined]
    data_util.paired_paths_from_meta_info_file = paired_paths
    paired_image_dataset.paired_paths_from_meta_info_file = paired_paths

    def named_by_list(dataset: Any, key: str, root: str) -> None:
        original = dataset.__init__

        @functools.wraps(original)
        def __init__(self: Any, opt: Any) -> None:  # noqa: N807
            original(self, opt)
            if opt.get(key) is not None and opt["io_backend"].get("type") == "disk":
                self.paths = [os.path.join(opt[root], first_name(line)) for line in read_meta_info(opt[key])]

        dataset.__init__ = __init__

    named_by_list(realesrgan_dataset.RealESRGANDataset, "meta_info", "dataroot_gt")
    named_by_list(single.SingleImageDataset, "meta_info_file", "dataroot_lq")

    def opened(file: str) -> Any:
        """The list in the only form that this dataset reads."""
        import io

        return io.StringIO("\n".join(", ".join(two_names(line)) for line in read_meta_info(file)))

    realesrgan_paired_dataset.open = opened  # type: ignore[attr-defined]


def _distributed_without_gpu() -> None:
    """BasicSR starts NCCL and takes the rank modulo the number of GPUs, which divides by zero where there is none.

    May go when init_dist picks gloo without a GPU. The store of each restart may go when a rank that torchrun starts
    again does not read the address of one that is gone (torch 2.15 does, for the store outlives the ranks).
    """
    import os

    import torch
    from basicsr.utils import dist_util
    from torch._C._distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    original = dist_util._init_dist_pytorch
    if getattr(original, "_paragon", False):
        return

    @functools.wraps(original)
    def init_dist_pytorch(backend: str, **kwargs: Any) -> None:
        if "TORCHELASTIC_RESTART_COUNT" in os.environ:
            store, rank, world_size = next(rendezvous("env://"))
            store = PrefixStore(f"start_{os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
            kwargs |= {"store": store, "rank": rank, "world_size": world_size}
        if torch.cuda.is_available():
            original(backend, **kwargs)
        else:
            from ...resilience.ranks import PATIENCE

            torch.distributed.init_process_group(backend="gloo", timeout=PATIENCE, **kwargs)

    init_dist_pytorch._paragon = True  # type: ignore[attr-defined]
    dist_util._init_dist_pytorch = init_dist_pytorch


def _validation_of_any_images() -> None:
    """BasicSR averages NaN and infinity into a metric, keeps NaN out of no best value, writes the images of sets with
    equal names over each other, and dies in OpenCV of a file name that is not UTF-8.

    May go when SRModel.nondist_validation does none of that.
    """
    from basicsr.models.sr_model import SRModel

    from .run.validation_pass import validate_images

    SRModel.nondist_validation = validate_images  # type: ignore[method-assign]


def _names_found_quietly() -> None:
    """BasicSR prints a line for each of its parts that is registered with the suffix `_basicsr`, and for unknown names.

    May go when Registry.get finds such a part without a word.
    """
    from basicsr.utils.registry import Registry

    def get(self: Any, name: str, suffix: str = "basicsr") -> Any:
        for known in (name, f"{name}_{suffix}"):
            if known in self:
                return self._obj_map[known]
        raise KeyError(f"No object named '{name}' found in '{self._name}' registry!")

    Registry.get = get  # type: ignore[method-assign]


def _wandb_of_today() -> None:
    """BasicSR asks wandb.util for an id of a run, which today's wandb has no function for there.

    May go when init_wandb_logger leaves the id to wandb.init.
    """
    import basicsr.train
    import basicsr.utils.logger

    original = basicsr.utils.logger.init_wandb_logger
    if getattr(original, "_paragon", False):
        return

    @functools.wraps(original)
    def init_wandb_logger(opt: Any) -> None:
        import secrets

        import wandb  # pyright: ignore[reportMissingImports]

        if not hasattr(wandb.util, "generate_id"):
            wandb.util.generate_id = lambda: secrets.token_hex(4)
        original(opt)

    init_wandb_logger._paragon = True  # type: ignore[attr-defined]
    for module in (basicsr.utils.logger, basicsr.train):
        module.init_wandb_logger = init_wandb_logger  # type: ignore[attr-defined]
