"""Small networks with one of everything, for what must hold for all layers and activations."""

from __future__ import annotations

import numpy as np

import densegrad as dg
from densegrad._base.primitives import names

FEATURES, OUTPUTS = 5, 3
LAYERS = {
    **{name: lambda name=name: [dg.Dense(7, name)] for name in names("activation")},
    "swish 1.7": lambda: [dg.Dense(7, dg.activations.Swish(1.7))],
    "elu 0.3": lambda: [dg.Dense(7, dg.activations.ELU(0.3))],
    "leaky_relu 0.3": lambda: [dg.Dense(7, dg.activations.LeakyReLU(0.3))],
    "no bias": lambda: [dg.Dense(7, "tanh", use_bias=False)],
    "an activation alone": lambda: [dg.LayerNorm(), dg.Activation("tanh")],
    "batch_norm": lambda: [dg.BatchNorm(0.2, 1e-3)],
    "layer_norm": lambda: [dg.LayerNorm(1e-3)],
    "standardize": lambda: [dg.Standardize(fitted=True)],
    "dropout": lambda: [dg.Dropout(0.2)],
    "prelu": lambda: [dg.PReLU()],
    "prelu for each": lambda: [dg.PReLU(shared=False)],
    "learned_swish": lambda: [dg.LearnedSwish()],
    "learned_swish for each": lambda: [dg.LearnedSwish(shared=False)],
    "residual": lambda: [dg.Residual([dg.Dense(9, "tanh"), dg.Dense(6)]), dg.Activation("relu")],
    "residual in residual": lambda: [
        dg.Residual([dg.Dense(6), dg.Residual([dg.PReLU(), dg.Dense(6)]), dg.LayerNorm()])
    ],
}


def network(name, dtype):
    """A network around these layers, with numbers in every array that are of no special value."""
    layers = [dg.Dense(6), *LAYERS[name](), dg.Dense(OUTPUTS)]
    model = dg.Sequential(layers, input_size=FEATURES, dtype=dtype, seed=0)
    rng = np.random.default_rng(7)
    for slot in model.slots():
        signs = 1 if slot.name.endswith("variance") else rng.choice([-1, 1], slot.shape)
        model.view(slot)[...] = signs * rng.uniform(0.2, 1, slot.shape)
    return model
