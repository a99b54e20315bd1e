"""A JSON schema of whole option files: an editor completes and checks them while one types.

    paragon schema > options/schema.json

The known options and their kinds are those of `known`. Blocks of parts that are known here take no other options. A
model, data set, metric or loss of another plugin may have options of its own: its block is left open.
"""

from collections.abc import Mapping
from typing import Any

from ....nets.sizes import SIZES
from ....nets.tiers import TIERS
from ....scheduling.option_schema import block_schema
from . import known
from .scheduling_block import KEY

Schema = dict[str, Any]

_MODELS = (
    *("ParagonSRModel", "ParagonGANModel", "ParagonESRGANModel", "ParagonRealESRNetModel", "ParagonRealESRGANModel"),
    *("SRModel", "SwinIRModel", "SRGANModel", "ESRGANModel", "RealESRNetModel", "RealESRGANModel"),
)
"""Models whose options are known here; the first five are ours."""

_HR_SETS = ("HRImageDataset", "HRDegradationDataset")
_DATASETS = (*known.NEEDED, "HRImageDataset", "SamplePhotosDataset")
"""Data sets whose options are known here."""

_BOOLEAN: Schema = {"type": "boolean"}
_TYPED: Schema = {"type": "object", "required": ["type"], "properties": {"type": {"type": "string"}}}
"""A block whose `type` says what reads the rest of it."""

_WORDS: dict[str, str] = {
    "name": "Name of the run: of its folder under experiments/.",
    "model_type": "Training step. Ours schedule the losses: ParagonSRModel and its kin; others are BasicSR's.",
    "scale": "Upscaling factor.",
    "num_gpu": "Number of GPUs, or auto; 0 trains on the CPU.",
    "manual_seed": "Seed of weights, order of images and augmentations.",
    "use_amp": "Mixed precision: true or fp16 (a GPU alone), or bf16.",
    "amp_bf16": "With use_amp: true, bf16 in place of fp16.",
    "use_channels_last": "Memory layout of networks and images.",
    "use_compile": "Compiles the trained network with torch.compile.",
    "dataroot_gt": "Folder of HR images.",
    "dataroot_lq": "Folder of LR images.",
    "meta_info": "List of the images to take, one a line.",
    "io_backend": "How files are read, such as 'type: disk'.",
    "gt_size": "Side of a training patch in HR pixels, a multiple of scale.",
    "batch_size_per_gpu": "Patches of a step, or of one of its accum_iter parts.",
    "accum_iter": "Parts that a batch is computed in.",
    "num_worker_per_gpu": "Processes that load images.",
    "dataset_enlarge_ratio": "How often an epoch has each image. A small set at 1 starts its workers over and over.",
    "max_unreadable": "Share of the images that may be unreadable before the run stops.",
    "images": "Names inside the folder: only these.",
    "exclude": "Names inside the folder to leave out.",
    "cache_mb": "Decoded images that each data worker keeps, in megabytes.",
    "pretrain_network_g": "Weights to start from.",
    "resume_state": "Training state to go on from.",
    "total_iter": "Iterations of the run: optimizer steps.",
    "warmup_iter": "Iterations in which the learning rate rises; -1 for none.",
    "ema_decay": "Weight of the past in the averaged network; 0 for none.",
    "grad_clip": "Largest L2 norm of a network's gradient; true is 1.",
    "losses": "Any number of losses; see docs/recipes.md.",
    "optim_g": "Optimizer of the network: any of torch.optim.",
    "optim_d": "Optimizer of the discriminator.",
    "scheduler": "Learning rate over the iterations.",
    "learnable_kernel_lr_factor": "Factor on the learning rate of a learnable kernel.",
    "net_d_iters": "The network trains at every so many iterations.",
    "net_d_init_iters": "Iterations in which the discriminator trains alone.",
    "val_freq": "Iterations from one validation to the next.",
    "save_img": "Whether a validation saves its images.",
    "metrics": "Metrics of a validation by name. The first one tells which network is the best.",
    "print_freq": "Iterations from one line of the log to the next.",
    "save_checkpoint_freq": "Iterations from one checkpoint to the next.",
    "use_tb_logger": "Whether the run writes for TensorBoard.",
    "keep_last": "How many checkpoints stay; the best one always does.",
    "wandb": "Weights & Biases: 'project: NAME' shows the run there. It copies what goes to TensorBoard.",
}


def option_file_schema() -> Schema:
    """The schema, as plain values."""
    block, components = block_schema()
    top = {
        **_of(known.TOP),
        "name": known.path_part.schema,
        "model_type": {"type": "string", "examples": list(_MODELS)},
        "scale": {"type": "integer", "minimum": 1, "maximum": 64},
        "num_gpu": {"anyOf": [{"type": "integer", "minimum": 0}, {"enum": ["auto", None]}]},
        "manual_seed": {"type": ["integer", "null"], "minimum": 0, "maximum": 2**31 - 1},
        "use_amp": {"enum": [True, False, "bf16", "fp16", None]},
        **dict.fromkeys(("amp_bf16", "use_channels_last", "use_compile"), _BOOLEAN),
        "datasets": _datasets(),
        "path": _path(),
        "train": _optional(_train(block)),
        "val": _optional(_object(_of(known.VAL))),
        "logger": _optional(_closed({**_of(known.LOGGER), "wandb": _optional(_closed(_of(known.WANDB)))})),
        "dist_params": _optional(_closed(_of(known.DIST))),
    }
    file = _object(top, patterns={"^network_": {"$ref": "#/$defs/network"}})
    file |= {"required": ["name", "model_type", "datasets", "network_g"]}
    file |= {"allOf": [_if_known("model_type", _MODELS, _of_known_model(top))]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Option file of BasicSR with paragon-plugin",
        **file,
        "$defs": {**components, "network": _network(), "dataset": _dataset(), "loss": _loss()},
    }


def _of(table: Mapping[str, known.Kind]) -> Schema:
    return {key: dict(kind.schema) for key, kind in table.items()}


def _object(properties: Schema, patterns: Schema | None = None) -> Schema:
    described = {
        key: {**value, "description": _WORDS[key]} if key in _WORDS else value for key, value in properties.items()
    }
    return {"type": "object", "properties": described, **({"patternProperties": patterns} if patterns else {})}


def _closed(properties: Schema, patterns: Schema | None = None) -> Schema:
    return {**_object(properties, patterns), "additionalProperties": False}


def _optional(block: Schema) -> Schema:
    """A block whose lines may all be commented out."""
    return {**block, "type": ["object", "null"]}


def _only(properties: Mapping[str, Any], *patterns: str) -> Schema:
    """No other properties than these; to be used where an object is described already."""
    named: Schema = {"properties": dict.fromkeys(properties, True), "additionalProperties": False}
    return {**named, "patternProperties": dict.fromkeys(patterns, True)} if patterns else named


def _of_known_model(top: Mapping[str, Any]) -> Schema:
    """What reads these blocks is known here, so that an option that is not described is one that nothing reads."""
    only = _only(top, "^network_")
    for block in ("path", "train", "val"):
        only["properties"][block] = _only(top[block]["properties"], *top[block].get("patternProperties", {}))
    return only


def _if_known(key: str, values: tuple[str, ...], then: Schema) -> Schema:
    return {"if": {"required": [key], "properties": {key: {"enum": list(values)}}}, "then": then}


def _datasets() -> Schema:
    dataset: Schema = {"$ref": "#/$defs/dataset"}
    train = {"allOf": [dataset, {"required": ["batch_size_per_gpu", "num_worker_per_gpu"]}]}
    return _closed({"train": train}, {"^(val|test)(_|$)": dataset})


def _dataset() -> Schema:
    own = {
        **_of(known.TRAIN_DATASET),
        "type": {"type": "string", "examples": list(_DATASETS)},
        "accum_iter": {"type": "integer", "minimum": 1},
    }
    needed = [_if_known("type", (name,), {"required": list(keys)}) for name, keys in known.NEEDED.items()]
    of_images = _of(known.HR_DATASET)
    others = tuple(name for name in _DATASETS if name not in _HR_SETS)
    rules = [_if_known("type", _HR_SETS, _only({**own, **of_images})), _if_known("type", others, _only(own))]
    return {**_object({**own, **of_images}), "required": ["type"], "allOf": [*rules, *needed]}


def _network() -> Schema:
    """`{type: NAME, ...}`, or `{NAME: {...}}`; the options of our networks are known."""
    sizes = tuple(f"paragonsr2_{size}" for size in SIZES)
    tiers = [f"paragonsr2_{tier}" for tier in TIERS]
    options: Schema = {
        "scale": {"type": "integer", "enum": [1, 2, 3, 4, 8]},
        "upsampler_alpha": {"type": "number", "minimum": 0, "maximum": 2},
        "detail_gain": {"type": ["number", "null"], "exclusiveMinimum": 0, "maximum": 10},
        **dict.fromkeys(("use_content_aware", "use_attention", "use_learnable_magic_kernel"), _BOOLEAN),
        "in_chans": {"type": "integer", "minimum": 1},
    }
    named = {"type": {"type": "string", "examples": [*sizes, *tiers]}}
    long = {**_TYPED, "properties": named, "allOf": [_if_known("type", sizes, _closed({"type": True, **options}))]}
    short: Schema = {"type": "object", "not": {"required": ["type"]}, "minProperties": 1, "maxProperties": 1}
    return {"anyOf": [long, {**short, "properties": dict.fromkeys(sizes, _optional(_closed(options)))}]}


def _path() -> Schema:
    networks = {
        "^pretrain_network_": known.PATH["pretrain_network_g"].schema,
        "^param_key_": known.PATH["param_key_g"].schema,
        "^strict_load_": known.PATH["strict_load_g"].schema,
    }
    own = {key: value for key, value in _of(known.PATH).items() if not key.endswith(("_g", "_d"))}
    own |= {key: known.PATH[key].schema for key in ("pretrain_network_g", "pretrain_network_d")}
    return _optional(_object(own, networks))


def _train(block: Schema) -> Schema:
    optimizer = {
        **_TYPED,
        "required": ["type", "lr"],
        "properties": {
            "type": {"type": "string", "examples": ["Adam", "AdamW", "SGD", "RAdam", "NAdam"]},
            "lr": {"type": "number", "exclusiveMinimum": 0},
            "weight_decay": {"type": "number", "minimum": 0},
            "betas": {"type": "array", "items": {"type": "number", "minimum": 0, "exclusiveMaximum": 1}},
        },
    }
    loss: Schema = {"$ref": "#/$defs/loss"}
    positive: Schema = {"type": "number", "exclusiveMinimum": 0}
    own = {
        **_of(known.TRAIN),
        **dict.fromkeys(("optim_g", "optim_d"), optimizer),
        "scheduler": {
            **_TYPED,
            "allOf": [
                _if_known("type", (name,), _closed({"type": True, **_of(table)}))
                for name, table in known.SCHEDULERS.items()
            ],
        },
        "losses": {"type": ["array", "null"], "items": loss},
        "grad_clip": {"anyOf": [positive, _BOOLEAN, {"type": "null"}]},
        KEY: block,
    }
    blocks = [key for key in own if key.endswith("_opt")]
    own |= {key: {"anyOf": [loss, {"type": "null"}]} for key in blocks}
    blocks_of_name = {"_opt$": {"anyOf": [loss, {"type": "null"}]}, "^optim_": optimizer}
    return {**_object(own, blocks_of_name), "required": ["total_iter"]}


def _loss() -> Schema:
    whole: Schema = {"type": "integer", "minimum": 0}
    own = {
        "type": {"type": "string"},
        "name": {"type": "string"},
        "role": {"type": "string"},
        "loss_weight": {"type": "number"},
        "start_iter": whole,
        "ramp_iter": whole,
    }
    return {**_object(own), "required": ["type"]}
