"""The names of traiNNer-redux that are used here, and a check that a checkout has them. It reads sources and does not
import them.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Part:
    """A name in a file of redux."""

    file: str
    """Path inside the checkout."""
    name: str
    """`function`, `Class.method`, `Struct.field`, or `Class.attribute` where a method sets it."""
    takes: tuple[str, ...] = ()
    """Its parameters after self, in order, as far as they are relied on."""
    mentions: str | None = None
    """A name that its body uses, or a text in it."""

    def __str__(self) -> str:
        return f"{self.file} has no {self.name}"


_SR, _BASE, _LOSSES = "traiNNer/models/sr_model.py", "traiNNer/models/base_model.py", "traiNNer/losses/gan_loss.py"
_OPTIONS, _STRUCTS = "traiNNer/utils/options.py", "traiNNer/utils/redux_options.py"

PARTS = (
    Part("train.py", "train_pipeline", mentions="optimize_parameters"),
    Part("train.py", "train_pipeline", mentions="get_current_log"),
    Part("train.py", "train_pipeline", mentions="validation"),
    Part("train.py", "train_pipeline", mentions="save"),
    Part("traiNNer/archs/__init__.py", "arch_filenames", mentions="_arch.py"),
    Part("traiNNer/archs/__init__.py", "build_network", mentions="ARCH_REGISTRY"),
    Part("traiNNer/utils/registry.py", "ARCH_REGISTRY"),
    Part("traiNNer/utils/registry.py", "SPANDREL_REGISTRY"),
    Part("traiNNer/utils/registry.py", "TESTARCH_REGISTRY"),
    Part("traiNNer/utils/registry.py", "Registry.register", takes=("obj",), mentions="__name__"),
    Part("traiNNer/utils/registry.py", "Registry.__contains__", takes=("name",)),
    Part(_OPTIONS, "yaml_load", takes=("file_path",), mentions="ReduxOptions"),
    Part(_STRUCTS, "TrainOptions"),
    Part(_STRUCTS, "TrainOptions.total_iter"),
    Part(_STRUCTS, "TrainOptions.losses"),
    Part(_STRUCTS, "TrainOptions.optim_g"),
    Part(_STRUCTS, "ReduxOptions.train"),
    Part(_STRUCTS, "ReduxOptions.name"),
    Part(_STRUCTS, "ReduxOptions.rank"),
    Part(_STRUCTS, "ReduxOptions.network_g"),
    Part(_STRUCTS, "ReduxOptions.datasets"),
    Part(_STRUCTS, "ReduxOptions.val"),
    Part(_STRUCTS, "ReduxOptions.contents"),
    Part(_STRUCTS, "PathOptions.experiments_root"),
    Part(_STRUCTS, "PathOptions.visualization"),
    Part(_STRUCTS, "ValOptions.val_enabled"),
    Part("traiNNer/utils/misc.py", "loss_type_to_label", takes=("loss_type",)),
    Part("traiNNer/utils/logger.py", "get_root_logger", mentions="traiNNer"),
    Part(_BASE, "BaseModel.get_current_log"),
    Part(_BASE, "BaseModel.get_current_learning_rate"),
    Part(_BASE, "BaseModel.metric_results"),
    Part(_BASE, "BaseModel.with_metrics"),
    Part(
        _BASE,
        "BaseModel.validation",
        takes=("dataloader", "current_iter", "tb_logger", "save_img", "multi_val_datasets"),
    ),
    Part(_BASE, "BaseModel.save_network", mentions="hyperparameters"),
    Part(_SR, "SRModel.init_training_settings"),
    Part(_SR, "SRModel.optimize_parameters", takes=("current_iter", "current_accum_iter", "apply_gradient")),
    Part(_SR, "SRModel.save", takes=("epoch", "current_iter")),
    Part(_SR, "SRModel.losses"),
    Part(_SR, "SRModel.net_d"),
    Part(_SR, "SRModel.net_g"),
    Part(_SR, "SRModel.optimizer_g"),
    Part(_SR, "SRModel.scaler_g"),
    Part(_SR, "SRModel.accum_iters"),
    Part(_SR, "SRModel.optimize_parameters", mentions="l_g_gan"),
    Part(_LOSSES, "GANLoss.forward", takes=("input", "target_is_real", "is_disc")),
    Part(_LOSSES, "GANLoss.loss_weight"),
)


def changes(checkout: Path) -> list[str]:
    """What a checkout lacks of `PARTS`, in words; empty where everything is there."""
    found: list[str] = []
    for file in dict.fromkeys(part.file for part in PARTS):
        wanted = [part for part in PARTS if part.file == file]
        try:
            names = dict(_names(ast.parse((checkout / file).read_text("utf-8"))))
        except (OSError, SyntaxError, ValueError):
            found.append(f"{file} is missing or no Python that can be read")
            continue
        found += [problem for part in wanted if (problem := _problem(part, names))]
    return list(dict.fromkeys(found))


def _problem(part: Part, names: dict[str, ast.AST]) -> str | None:
    node = names.get(part.name)
    if node is None:
        return str(part)
    if part.takes:
        parameters = _parameters(node)
        if parameters[: len(part.takes)] != list(part.takes):
            return f"{part.file}: {part.name} takes ({', '.join(parameters)}), not ({', '.join(part.takes)})"
    if part.mentions is not None and part.mentions not in set(_mentioned(node)):
        return f"{part.file}: {part.name} has nothing of {part.mentions}"
    return None


def _parameters(node: ast.AST) -> list[str]:
    if not isinstance(node, ast.FunctionDef):
        return []
    return [argument.arg for argument in node.args.args if argument.arg != "self"]


def _mentioned(node: ast.AST) -> Iterator[str]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name):
            yield inner.id
        elif isinstance(inner, ast.Attribute):
            yield inner.attr
        elif isinstance(inner, ast.Constant) and isinstance(inner.value, str):
            yield inner.value


def _names(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """Dotted names that a module defines."""
    for node in tree.body:
        yield from _defined(node)
        if isinstance(node, ast.ClassDef):
            for inner in ast.walk(node):
                if isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store):
                    yield f"{node.name}.{inner.attr}", inner
            for member in node.body:
                yield from ((f"{node.name}.{name}", what) for name, what in _defined(member))


def _defined(node: ast.stmt) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name, node
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        yield node.target.id, node
    elif isinstance(node, ast.Assign):
        yield from ((target.id, node) for target in node.targets if isinstance(target, ast.Name))
