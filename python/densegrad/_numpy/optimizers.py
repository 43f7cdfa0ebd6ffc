"""Optimisers: one update of a flat parameter buffer, in place, as formulas.

``state`` holds (rows, parameters) numbers, zeros at first, and ``updates`` were made before, so t = updates + 1.
Numbers that do not depend on a parameter are computed in float64 and rounded once.
"""

from __future__ import annotations

import math

import numpy as np

from densegrad._base.types import FloatArray


def sgd(parameters: FloatArray, gradients: FloatArray, state: FloatArray | None, updates: int, lr: float) -> None:
    """w <- w - lr dw."""
    parameters -= parameters.dtype.type(lr) * gradients


def sgd_weight_decay(
    parameters: FloatArray,
    gradients: FloatArray,
    state: FloatArray | None,
    updates: int,
    lr: float,
    weight_decay: float,
) -> None:
    """w <- w - lr (dw + weight_decay w)."""
    parameters -= parameters.dtype.type(lr) * _decayed(gradients, parameters, weight_decay)


def sgd_momentum(
    parameters: FloatArray,
    gradients: FloatArray,
    state: FloatArray,
    updates: int,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
) -> None:
    """g = dw + weight_decay w; b <- momentum b + (1 - dampening) g, but b <- g at first; w <- w - lr b."""
    (b,) = state
    g = _decayed(gradients, parameters, weight_decay)
    b[...] = _sum(momentum, b, 1 - dampening, g) if updates > 0 else g
    parameters -= parameters.dtype.type(lr) * b


def sgd_nesterov(
    parameters: FloatArray,
    gradients: FloatArray,
    state: FloatArray,
    updates: int,
    lr: float,
    momentum: float,
    weight_decay: float,
) -> None:
    """g = dw + weight_decay w; b <- momentum b + g; w <- w - lr (g + momentum b)."""
    (b,) = state
    g = _decayed(gradients, parameters, weight_decay)
    b[...] = _sum(momentum, b, 1, g)
    parameters -= parameters.dtype.type(lr) * _sum(1, g, momentum, b)


def adam(
    parameters: FloatArray,
    gradients: FloatArray,
    state: FloatArray,
    updates: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
) -> None:
    """g = dw + weight_decay w; m and v are moving means of g and g^2; w <- w - lr m^ / (sqrt(v^) + eps).

    m^ = m / (1 - beta1^t) and v^ = v / (1 - beta2^t): the means start at 0.
    """
    m, v = state
    _moments(m, v, _decayed(gradients, parameters, weight_decay), beta1, beta2)
    parameters -= _adam_step(m, v, updates + 1, lr, beta1, beta2, eps)


def adam_amsgrad(
    parameters: FloatArray,
    gradients: FloatArray,
    state: FloatArray,
    updates: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
) -> None:
    """``adam`` with u <- max(u, v), the largest v so far, in the place of v."""
    m, v, u = state
    _moments(m, v, _decayed(gradients, parameters, weight_decay), beta1, beta2)
    np.maximum(u, v, out=u)
    parameters -= _adam_step(m, u, updates + 1, lr, beta1, beta2, eps)


def adam_eps_hat(
    parameters: FloatArray,
    gradients: FloatArray,
    state: FloatArray,
    updates: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
) -> None:
    """``adam`` with sqrt(v) + eps, then the correction: w <- w - lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (...)."""
    eps_now = eps / math.sqrt(1 - beta2 ** (updates + 1))
    adam(parameters, gradients, state, updates, lr, beta1, beta2, eps_now, weight_decay)


def adamw(
    parameters: FloatArray,
    gradients: FloatArray,
    state: FloatArray,
    updates: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
) -> None:
    """w <- (1 - lr weight_decay) w, then ``adam`` without decay."""
    parameters *= parameters.dtype.type(1 - lr * weight_decay)
    adam(parameters, gradients, state, updates, lr, beta1, beta2, eps, 0.0)


def adamw_amsgrad(
    parameters: FloatArray,
    gradients: FloatArray,
    state: FloatArray,
    updates: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
) -> None:
    """w <- (1 - lr weight_decay) w, then ``adam_amsgrad`` without decay."""
    parameters *= parameters.dtype.type(1 - lr * weight_decay)
    adam_amsgrad(parameters, gradients, state, updates, lr, beta1, beta2, eps, 0.0)


def rmsprop(
    parameters: FloatArray,
    gradients: FloatArray,
    state: FloatArray,
    updates: int,
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float,
) -> None:
    """g = dw + weight_decay w; v is a moving mean of g^2; w <- w - lr g / (sqrt(v) + eps)."""
    (v,) = state
    g = _decayed(gradients, parameters, weight_decay)
    v[...] = _sum(alpha, v, 1 - alpha, g * g)
    parameters -= parameters.dtype.type(lr) * _scaled(g, v, eps)


def rmsprop_momentum(
    parameters: FloatArray,
    gradients: FloatArray,
    state: FloatArray,
    updates: int,
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float,
    momentum: float,
) -> None:
    """``rmsprop`` with b <- momentum b + g / (sqrt(v) + eps); w <- w - lr b."""
    v, b = state
    g = _decayed(gradients, parameters, weight_decay)
    v[...] = _sum(alpha, v, 1 - alpha, g * g)
    b[...] = _sum(momentum, b, 1, _scaled(g, v, eps))
    parameters -= parameters.dtype.type(lr) * b


def rmsprop_centered(
    parameters: FloatArray,
    gradients: FloatArray,
    state: FloatArray,
    updates: int,
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float,
) -> None:
    """``rmsprop`` with the variance v - a^2, at least 0, in the place of v; a is a moving mean of g."""
    v, a = state
    g = _decayed(gradients, parameters, weight_decay)
    v[...] = _sum(alpha, v, 1 - alpha, g * g)
    a[...] = _sum(alpha, a, 1 - alpha, g)
    parameters -= parameters.dtype.type(lr) * _scaled(g, np.maximum(v - a * a, 0), eps)


def rmsprop_centered_momentum(
    parameters: FloatArray,
    gradients: FloatArray,
    state: FloatArray,
    updates: int,
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float,
    momentum: float,
) -> None:
    """``rmsprop_centered`` with b <- momentum b + g / (sqrt(v - a^2) + eps); w <- w - lr b."""
    v, a, b = state
    g = _decayed(gradients, parameters, weight_decay)
    v[...] = _sum(alpha, v, 1 - alpha, g * g)
    a[...] = _sum(alpha, a, 1 - alpha, g)
    b[...] = _sum(momentum, b, 1, _scaled(g, np.maximum(v - a * a, 0), eps))
    parameters -= parameters.dtype.type(lr) * b


def adagrad(
    parameters: FloatArray,
    gradients: FloatArray,
    state: FloatArray,
    updates: int,
    lr: float,
    lr_decay: float,
    weight_decay: float,
    eps: float,
) -> None:
    """g = dw + weight_decay w; v <- v + g^2; w <- w - lr / (1 + (t - 1) lr_decay) g / (sqrt(v) + eps)."""
    (v,) = state
    g = _decayed(gradients, parameters, weight_decay)
    v += g * g
    parameters -= parameters.dtype.type(lr / (1 + updates * lr_decay)) * _scaled(g, v, eps)


def adadelta(
    parameters: FloatArray,
    gradients: FloatArray,
    state: FloatArray,
    updates: int,
    lr: float,
    rho: float,
    eps: float,
    weight_decay: float,
) -> None:
    """g = dw + weight_decay w; v and u are moving means of g^2 and d^2; w <- w - lr d.

    d = sqrt(u + eps) / sqrt(v + eps) g, with u from before.
    """
    v, u = state
    small = parameters.dtype.type(eps)
    g = _decayed(gradients, parameters, weight_decay)
    v[...] = _sum(rho, v, 1 - rho, g * g)
    d = np.sqrt((u + small) / (v + small)) * g
    u[...] = _sum(rho, u, 1 - rho, d * d)
    parameters -= parameters.dtype.type(lr) * d


def adamax(
    parameters: FloatArray,
    gradients: FloatArray,
    state: FloatArray,
    updates: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
) -> None:
    """g = dw + weight_decay w; m is a moving mean of g; u <- max(beta2 u, |g| + eps); w <- w - lr m^ / u.

    m^ = m / (1 - beta1^t): the mean starts at 0.
    """
    dtype = parameters.dtype.type
    m, u = state
    g = _decayed(gradients, parameters, weight_decay)
    m[...] = _sum(beta1, m, 1 - beta1, g)
    np.maximum(dtype(beta2) * u, np.abs(g) + dtype(eps), out=u)
    parameters -= dtype(lr / (1 - beta1 ** (updates + 1))) * (m / u)


def nadam(
    parameters: FloatArray,
    gradients: FloatArray,
    state: FloatArray,
    updates: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    momentum_decay: float,
) -> None:
    """g = dw + weight_decay w; m and v are moving means of g and g^2; w <- w - lr n / (sqrt(v^) + eps).

    n = (1 - mu_t) g / (1 - P_t) + mu_(t+1) m / (1 - P_(t+1)), with P_t = mu_1 mu_2 ... mu_t and
    mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2); v^ = v / (1 - beta2^t).
    """
    dtype = parameters.dtype.type
    m, v = state
    t = updates + 1
    g = _decayed(gradients, parameters, weight_decay)
    _moments(m, v, g, beta1, beta2)

    def mu(i: int) -> float:
        return beta1 * (1 - 0.5 * math.pow(0.96, i * momentum_decay))

    product = 1.0
    for i in range(1, t + 1):
        product *= mu(i)
        if product < 1e-18:  # nothing beside 1
            break
    n = _sum(lr * (1 - mu(t)) / (1 - product), g, lr * mu(t + 1) / (1 - product * mu(t + 1)), m)
    parameters -= n / (np.sqrt(v) / dtype((1 - beta2**t) ** 0.5) + dtype(eps))


def nadam_decoupled(
    parameters: FloatArray,
    gradients: FloatArray,
    state: FloatArray,
    updates: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    momentum_decay: float,
) -> None:
    """w <- (1 - lr weight_decay) w, then ``nadam`` without decay."""
    parameters *= parameters.dtype.type(1 - lr * weight_decay)
    nadam(parameters, gradients, state, updates, lr, beta1, beta2, eps, 0.0, momentum_decay)


def lion(
    parameters: FloatArray,
    gradients: FloatArray,
    state: FloatArray,
    updates: int,
    lr: float,
    beta1: float,
    beta2: float,
    weight_decay: float,
) -> None:
    """w <- (1 - lr weight_decay) w - lr sign(beta1 m + (1 - beta1) dw); m <- beta2 m + (1 - beta2) dw."""
    dtype = parameters.dtype.type
    (m,) = state
    direction = np.sign(_sum(beta1, m, 1 - beta1, gradients))
    m[...] = _sum(beta2, m, 1 - beta2, gradients)
    parameters *= dtype(1 - lr * weight_decay)
    parameters -= dtype(lr) * direction


def _sum(p: float, x: FloatArray, q: float, y: FloatArray) -> FloatArray:
    """p x + q y."""
    result: FloatArray = x.dtype.type(p) * x + x.dtype.type(q) * y
    return result


def _decayed(dw: FloatArray, w: FloatArray, weight_decay: float) -> FloatArray:
    """The gradient of the loss + weight_decay / 2 |w|^2."""
    return _sum(1, dw, weight_decay, w)


def _scaled(g: FloatArray, v: FloatArray, eps: float) -> FloatArray:
    """g / (sqrt(v) + eps)."""
    result: FloatArray = g / (np.sqrt(v) + v.dtype.type(eps))
    return result


def _moments(m: FloatArray, v: FloatArray, g: FloatArray, beta1: float, beta2: float) -> None:
    """m <- beta1 m + (1 - beta1) g; v <- beta2 v + (1 - beta2) g^2."""
    m[...] = _sum(beta1, m, 1 - beta1, g)
    v[...] = _sum(beta2, v, 1 - beta2, g * g)


def _adam_step(m: FloatArray, v: FloatArray, t: int, lr: float, beta1: float, beta2: float, eps: float) -> FloatArray:
    """lr m^ / (sqrt(v^) + eps)."""
    dtype = m.dtype.type
    denominator = np.sqrt(v) / dtype((1 - beta2**t) ** 0.5) + dtype(eps)
    result: FloatArray = dtype(lr / (1 - beta1**t)) * (m / denominator)
    return result
