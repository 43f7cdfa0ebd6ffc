"""scikit-learn's multi-layer perceptrons, trained here: ``from densegrad.sklearn import MLPClassifier, MLPRegressor``.

Words, defaults, attributes, errors and the numbers that come out are those of ``sklearn.neural_network``; what its
estimators have not stands behind their arguments, as keywords. In float64 a fit takes the steps that scikit-learn's
takes with the same ``random_state``, but for rounding. Needs scikit-learn: ``pip install 'densegrad[sklearn]'``.

Sparse input is made dense as a whole, in ``fit`` as in ``predict``.
"""

try:
    from densegrad.sklearn.classifier import MLPClassifier
    from densegrad.sklearn.ensembles import BaggingMLPClassifier, BaggingMLPRegressor
    from densegrad.sklearn.features import MLPAutoencoder, MLPTransformer
    from densegrad.sklearn.regressor import MLPRegressor
except ImportError as error:
    if (error.name or "").partition(".")[0] not in ("joblib", "scipy", "sklearn", "threadpoolctl"):
        raise
    raise ImportError("densegrad.sklearn needs scikit-learn 1.6 or newer: pip install 'densegrad[sklearn]'") from None

__all__ = [
    "BaggingMLPClassifier",
    "BaggingMLPRegressor",
    "MLPAutoencoder",
    "MLPClassifier",
    "MLPRegressor",
    "MLPTransformer",
]
