"""The models' API: what a user calls. Each call goes straight down to the room that does it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from densegrad import plot
from densegrad._base import check
from densegrad._base.html import preformatted
from densegrad._base.lazy_rows import blocks, features
from densegrad._base.primitives import loss_row
from densegrad._base.types import FloatArray
from densegrad._exchange.cpp import to_cpp
from densegrad._exchange.onnx_writer import to_onnx
from densegrad._exchange.torch import to_torch_state_dict
from densegrad._files import model_file
from densegrad._inspect.trace import Trace, trace
from densegrad._model_core import ModelCore, range_of
from densegrad._plan import backend
from densegrad._training.history import History
from densegrad._training.lbfgs import LBFGS, minimize_loss
from densegrad._training.measure import evaluate
from densegrad._training.trainer import Trainer
from densegrad.losses import Loss, LossLike
from densegrad.metrics import Metric
from densegrad.models.summary import Summary, SummaryRow, summarize
from densegrad.optimizers import Optimizer

_PUBLIC = (
    *("layers", "parameters", "gradients", "input_size", "output_size", "outputs", "dtype", "seed", "loss"),
    *("build", "fit", "evaluate", "predict", "predict_proba", "forward", "backward", "trace"),
    *("copy", "save", "to_cpp", "to_onnx", "to_torch_state_dict", "plot", "summary"),
)


class BaseModel(ModelCore):
    """Prediction, training, looking inside, and files: the same for every class of models."""

    def __dir__(self) -> list[str]:
        return sorted(_PUBLIC)

    def summary_rows(self) -> list[SummaryRow]:
        """The rows of a summary."""
        raise NotImplementedError

    # ---- prediction

    def predict(self, x: Any) -> FloatArray:
        """The last layer's output.

        Args:
            x: (batch, input_size); lists, integers, frames and other dtypes are converted to the model's.

        Returns:
            (batch, outputs) in the model's dtype.

        Threads may predict with one model at once. While another one trains it, a prediction may come from
        parameters of which some are updated and some are not: predict with a ``copy()`` then.

        Raises:
            ValueError, TypeError: x has another shape, is not numeric or not finite.
        """
        module, network = self._inference
        if type(x) is np.ndarray and module is backend.active():
            try:
                y: FloatArray = network.predict(x)
                return y
            except backend.REFUSAL:
                pass
        self.require_built("predict")
        assert self.input_size is not None
        caller = f"{type(self).__name__}.predict"
        rows = features(caller, self.join_inputs(caller, x), self.input_size, self.dtype, empty=True)
        parts = [self.network().predict(block) for block in blocks(rows)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def predict_proba(self, x: Any) -> FloatArray:
        """Probabilities (batch, outputs): the prediction through the link of the loss trained with.

        Softmax for ``cross_entropy`` and ``nll``, sigmoid for ``binary_cross_entropy_with_logits``; an output that
        already is a softmax or a sigmoid is given as it is.
        """
        caller = f"{type(self).__name__}.predict_proba"
        x = self._features("predict_proba", x, empty=True)
        if self.loss is not None:
            loss, scores = self.scores(x, self.resolve_loss(caller, self.loss))
            link = loss_row(loss.each()[0].primitive).link
            if link is not None:
                y: FloatArray = backend.active().activation_forward(link, scores)
                return y
        if range_of(self.last_primitives[0]) == (0, 1):
            return self.predict(x)
        trained = "no loss yet" if self.loss is None else repr(self.loss)
        raise ValueError(f"{caller}: expected a model trained with a loss on probabilities, got {trained}")

    def forward(self, x: Any) -> FloatArray:
        """The output for one batch in training, kept for ``backward``.

        Dropout draws a new mask at each call, and batch norm takes mean and variance of the batch.
        """
        x = self._features("forward", x)
        y: FloatArray = self.network().forward(x, step=self._forwards)
        self._forwards += 1
        return y

    def backward(self, dy: Any) -> FloatArray:
        """dx for the batch of the last ``forward``; fills ``gradients``, ``layer.dw`` and ``layer.db``.

        Args:
            dy: Gradient of a loss that lives elsewhere with respect to the output, (batch, outputs).
        """
        caller = f"{type(self).__name__}.backward"
        dy = check.array(caller, "dy", dy, self.dtype)
        if dy.ndim != 2 or dy.shape[1] != self.output_size:
            raise ValueError(f"{caller}: expected dy of shape (batch, {self.output_size}), got {dy.shape}")
        dx: FloatArray = self.network().backward(dy, self.gradients)
        return dx

    # ---- training

    def fit(self, x: Any, y: Any = None, *, loss: LossLike, optimizer: Optimizer | LBFGS, **options: Any) -> History:
        """Train on mini-batches; the options and their meaning are those of ``Trainer.fit``.

        ``LBFGS`` trains on all rows at once instead, and says what that changes.
        """
        if isinstance(optimizer, LBFGS):
            return minimize_loss(self, x, y, loss=loss, optimizer=optimizer, **options)
        return Trainer(self, loss=loss, optimizer=optimizer).fit(x, y, **options)

    def evaluate(
        self,
        x: Any,
        y: Any,
        *,
        loss: LossLike | None = None,
        metrics: Sequence[str | Metric] = (),
        sample_weight: Any = None,
        class_weight: Any = None,
    ) -> dict[str, float]:
        """The loss and metrics over all rows.

        Args:
            x, y: As for ``fit``.
            loss: Name or object; by default the one trained with.
            metrics: Names such as ``"accuracy"``, objects or functions, as for ``fit``.
            sample_weight: (batch,) weights.
            class_weight: As for ``fit``; ``"balanced"`` counts the classes of these rows.

        Returns:
            ``{"loss": ..., metric: ...}``.
        """
        caller = f"{type(self).__name__}.evaluate"
        if loss is None and self.loss is None:
            raise ValueError(f"{caller}: expected loss=..., because the model has not been trained with one")
        return evaluate(
            caller, self, x, y, self.resolve_loss(caller, loss or self.loss), metrics, sample_weight, class_weight
        )

    def trace(self, x: Any, y: Any, loss: str | Loss) -> Trace:
        """Every quantity of one forward and backward pass: x, z, y, dy, dz, dw, db of each layer."""
        return trace(self, x, y, loss)

    def summary(self) -> Summary:
        """A table of layers, shapes and parameters; prints as text."""
        return summarize(self, self.summary_rows())

    def plot(self, ax: Any = None) -> Any:
        """The network as a picture, weights as colours where it is small; gives the Matplotlib axes."""
        return plot.network(self, ax)

    def _repr_html_(self) -> str:
        """A notebook's view: the summary."""
        return preformatted(repr(self) if self.input_size is None else self.summary())

    # ---- files

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to one safetensors file, atomically; ``dg.load`` reads it back."""
        model_file.save(self, path)

    def to_onnx(self, path: str | os.PathLike[str] | None = None) -> Any:
        """The model as ONNX (opset 20), with the input ``x`` and the output ``y``, both (batch, features).

        Several inputs or outputs of a ``Model`` are columns of the two, side by side. Numbers are in the model's dtype.
        onnxruntime has few activations in float64: give it those of ``model.copy("float32")``.

        Args:
            path: Where it is written to, atomically.

        Returns:
            The ``onnx.ModelProto``, which ``dg.from_onnx`` reads back. Needs onnx: ``pip install 'densegrad[onnx]'``.
        """
        return to_onnx(self, path)

    def to_torch_state_dict(self) -> dict[str, Any]:
        """The state for ``torch.nn.Sequential.load_state_dict``: a copy of each array, by PyTorch's names.

        The modules of that Sequential are, in order, a ``Linear`` for each ``Dense``, behind it its activation as a
        module of its own unless it is ``None``, and one module for each other layer: ``BatchNorm1d``, ``LayerNorm``,
        ``PReLU``, ``Dropout`` or an activation. Needs PyTorch: ``pip install torch``.

        Raises:
            ValueError: A layer has no counterpart there: ``Residual``, ``Standardize``, ``LearnedSwish``.
        """
        return to_torch_state_dict(self)

    def to_cpp(self, path: str | os.PathLike[str] | None = None, *, name: str = "model") -> str:
        """The model as one C++17 header, with its weights and ``name::forward(x, y)`` for a row; for small devices.

        The function allocates nothing and needs no library but the language's own. Its numbers are of the model's
        dtype, and differ from ``predict``'s by rounding.

        Args:
            path: Where it is written to, atomically.
            name: The header's namespace.

        Returns:
            The header's text.

        >>> import densegrad as dg
        >>> model = dg.Sequential([dg.Dense(2, "relu")], input_size=3, seed=0)
        >>> print(model.to_cpp().partition(";")[0])
        // 3 inputs, 2 outputs, 8 parameters
        """
        return to_cpp(self, path, name)

    # ---- inside

    def _features(self, method: str, x: Any, *, empty: bool = False) -> FloatArray:
        self.require_built(method)
        assert self.input_size is not None
        caller = f"{type(self).__name__}.{method}"
        return check.features(caller, self.join_inputs(caller, x), self.input_size, self.dtype, empty=empty)
