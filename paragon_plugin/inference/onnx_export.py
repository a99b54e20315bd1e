"""Exports a network to ONNX and checks that the file computes the same as the network."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import OptionError, one_line
from ..resilience.atomic_file import atomic_file

OPSET = 18
"""Version of the ONNX operators."""

CHECKED_SHAPES = ((1, 64, 64), (2, 45, 30), (1, 17, 83))
"""Batch, height and width of the inputs for the comparison of file and network. The traced input has other sizes."""

LARGEST = 2**24
"""Values in a weight from which others are computed once, when exporting, and not in the graph."""

TOLERANCE = {torch.float32: 1e-4, torch.float16: 2e-2}
"""Largest accepted difference of output values. The values are about 0 to 1."""


class ExportError(RuntimeError):
    """The network cannot be written as ONNX. The message is one line."""


class ExportMismatchError(ExportError):
    """The exported file does not compute the same as the network."""


def export_onnx(net: nn.Module, in_chans: int, path: Path, *, half: bool = False) -> float:
    """Write a network as ONNX with dynamic batch, height and width.

    The input is `input` (B, C, H, W) in [0, 1]. The output is `output` (B, C, s H, s W). Both are float32, or float16
    with `half`. The export is checked in onnxruntime before the file appears at `path`.

    Args:
        net: The network in evaluation mode, float32, on the CPU. With `half` it is converted in place.
        in_chans: C.
        path: File to write.
        half: Whether weights, inputs and outputs are in half precision.

    Returns:
        The largest difference between the outputs of onnxruntime and of PyTorch in float32, over `CHECKED_SHAPES`.

    Raises:
        OptionError: onnx, onnxscript or onnxruntime is not installed, or the file cannot be written.
        ExportError: torch cannot export the network, or the file fails on images of another size.
        ExportMismatchError: The outputs differ by more than `TOLERANCE`. No file is written.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise OptionError("ONNX", f'needs the package {error.name}: pip install "paragon-plugin[onnx]"') from error
    dtype = torch.float16 if half else torch.float32
    generator = torch.Generator().manual_seed(0)
    inputs = [_picture(generator, batch, in_chans, height, width) for batch, height, width in CHECKED_SHAPES]
    with torch.inference_mode():
        expected = [net(x) for x in inputs]
    net.to(dtype)
    try:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model.onnx"
            _export(net, _picture(generator, 2, in_chans, 24, 40).to(dtype), file)
            session = onnxruntime.InferenceSession(file, _quiet(onnxruntime), providers=["CPUExecutionProvider"])
            difference = 0.0
            for x, y in zip(inputs, expected, strict=True):
                (result,) = _run(session, x.to(dtype))
                assert isinstance(result, np.ndarray)
                if result.shape != tuple(y.shape):
                    raise ExportMismatchError(
                        f"gives {result.shape} for {tuple(x.shape)}, the network {tuple(y.shape)}"
                    )
                difference = max(difference, float(np.abs(result.astype(np.float32) - y.numpy()).max()))
            if not difference <= TOLERANCE[dtype]:  # also true for NaN
                raise ExportMismatchError(f"differs from the network by up to {difference:.2g}; nothing is written")
            with atomic_file(path) as target:
                target.write(file.read_bytes())
    except OSError as error:
        raise OptionError(str(path), f"cannot be written: {error.strerror or error}") from error
    return difference


def _run(session: Any, x: Tensor) -> Any:
    try:
        return session.run(None, {"input": x.numpy()})
    except Exception as error:  # of onnxruntime, which has no base class for its errors
        size = " x ".join(map(str, x.shape[:1:-1]))
        raise ExportError(f"the network takes no image of {size} once it is exported: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return one_line(next(iter(str(error).strip().splitlines()), ""), limit=200) or type(error).__name__


def _picture(generator: torch.Generator, *shape: int) -> Tensor:
    """Noise in [0, 1], smoothed so that it is similar to a picture."""
    noise = torch.rand(shape, generator=generator)
    return torch.nn.functional.avg_pool2d(noise, 3, stride=1, padding=1, count_include_pad=False)


def _export(net: nn.Module, example: Tensor, file: Path) -> None:
    import onnx
    import onnxscript.optimizer

    dynamic = {0: torch.export.Dim("batch"), 2: torch.export.Dim("height"), 3: torch.export.Dim("width")}
    with _silence():
        try:
            program = torch.onnx.export(
                net,
                (example,),
                input_names=["input"],
                output_names=["output"],
                dynamic_shapes=(dynamic,),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
        except Exception as error:  # torch.export raises nearly anything on code that it cannot follow
            cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
            raise ExportError(f"torch cannot export this network: {_first_line(cause)}") from error
        assert program is not None  # with dynamo
        # By itself the exporter leaves what is computed from weights alone in the graph where they are large.
        onnxscript.optimizer.optimize(program.model, input_size_limit=LARGEST, output_size_limit=LARGEST)
        program.save(file, external_data=False)
    model = onnx.load(file)
    _forget_origin(model)
    file.write_bytes(model.SerializeToString())


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """The exporter writes much to both streams and to the log, even without a problem."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    nowhere = io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _forget_origin(message: Any) -> None:
    """Clear what an ONNX message and all messages in it tell of the machine and the code that it comes from.

    The exporter writes the lines of source, with the paths of this machine's files, that each node was traced from.
    """
    for name in ("metadata_props", "doc_string"):
        if name in message.DESCRIPTOR.fields_by_name:
            message.ClearField(name)
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if hasattr(value, "ListFields") else value:
                _forget_origin(part)


def _quiet(onnxruntime: Any) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # an error is raised as well
    return options
