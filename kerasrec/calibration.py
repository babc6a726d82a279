"""Calibration: how the logit of a model becomes the probability of its label.

Evaluation, exports and their verification take probabilities from here. The served graph computes
the same function in `kerasrec.serving.graph.probability`.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from kerasrec._checks import check_choice, check_finite, check_number

__all__ = ["Calibration", "fit_isotonic", "fit_platt"]

METHODS = ("none", "platt", "isotonic")
LEAST_ROWS = 100
"""Fewest rows of a block of `fit_isotonic`; a twentieth of the rows where there are few."""


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Increasing function from the logit x of a model to the log odds z of its label.

        probability = 1 / (1 + exp(-z))

        "none"      z = h(x) + intercept
        "platt"     z = slope * h(x) + intercept
        "isotonic"  z = straight lines between (knots, values) at h(x), constant beyond the ends

    h(x) is x, but where a focal loss with exponent g was minimised: there the log odds are

        h(x) = (g - 1) x + log(e^x + g softplus(x)) - log(e^-x + g softplus(-x))

    which follows from the derivatives of (1 - p)^g log p at its minimum over p = sigmoid(x)
    (Charoenphakdee et al., 2021, "On Focal Loss for Class-Posterior Probability Estimation").

    Scores stay the logits, so that calibration never changes a ranking. By default the logit is the
    log odds. A model takes a calibration by `model.calibrate(calibration)`, saves it, and its
    export serves the probability.

    Args:
        method: "none", "platt" or "isotonic".
        slope: factor of the logit.
        intercept: log odds of a logit of 0.
        knots: ascending logits, of "isotonic".
        values: log odds at the knots, ascending.
        focal_gamma: exponent g of the focal loss of the training, 0 for the cross-entropy.

    Raises:
        ValueError: if there is no such method, or the numbers do not fit it.

    Example:

    >>> calibration = Calibration("platt", slope=2.0, intercept=-1.0)
    >>> calibration.log_odds(np.array([0.5, 3.0])).tolist()
    [0.0, 5.0]
    >>> calibration.probability(np.array([0.5])).tolist()
    [0.5]
    """

    method: Literal["none", "platt", "isotonic"] = "none"
    slope: float = 1.0
    intercept: float = 0.0
    knots: tuple[float, ...] = ()
    values: tuple[float, ...] = ()
    focal_gamma: float = 0.0

    def __post_init__(self) -> None:
        check_choice(self, "method", self.method, METHODS)
        for name in ("slope", "intercept"):
            check_finite(self, name, getattr(self, name))
        check_number(self, "focal_gamma", self.focal_gamma)
        points = np.array([self.knots, self.values], float)
        isotonic = self.method == "isotonic"
        if isotonic != (points.size > 0) or not np.isfinite(points).all():
            raise ValueError(
                "Calibration: knots and values are finite numbers, as many of both, of "
                f"method='isotonic' alone; received {len(self.knots)} knots and {len(self.values)} "
                f"values of method={self.method!r}. Let fit_isotonic make them."
            )
        if (np.diff(points[0]) <= 0).any() or (np.diff(points[1]) < 0).any() or self.slope < 0:
            raise ValueError(
                "Calibration: probabilities must not fall where the logit rises; received "
                f"slope={self.slope}, knots={self.knots!r:.60}, values={self.values!r:.60}. Give a "
                "slope of at least 0, ascending knots and values that do not descend."
            )
        if (self.slope, self.intercept) != (1.0, 0.0) and isotonic:
            raise ValueError(
                f"Calibration: method='isotonic' has no slope and no intercept; received "
                f"{self.slope} and {self.intercept}. Leave them out."
            )

    @property
    def is_identity(self) -> bool:
        """Return whether the logit is the log odds."""
        return self == Calibration()

    def log_odds(self, logits: np.ndarray) -> np.ndarray:
        """Return the log odds of the label, float64.

        Args:
            logits: outputs of the model, of any shape.
        """
        x = np.asarray(logits, np.float64)
        if self.focal_gamma:
            x = (self.focal_gamma - 1) * x + self._focal_part(x) - self._focal_part(-x)
        if self.method == "isotonic":
            return np.asarray(np.interp(x, self.knots, self.values))
        return self.slope * x + self.intercept

    def _focal_part(self, x: np.ndarray) -> np.ndarray:
        """Return log(e^x + g softplus(x))."""
        softplus = np.log(np.logaddexp(0.0, np.maximum(x, -30.0))) + np.minimum(x + 30.0, 0.0)
        return np.logaddexp(x, math.log(self.focal_gamma) + softplus)

    def probability(self, logits: np.ndarray) -> np.ndarray:
        """Return the probability of the label, float64.

        Args:
            logits: outputs of the model, of any shape.
        """
        from scipy.special import expit  # takes a second, which a help text need not wait for

        return np.asarray(expit(self.log_odds(logits)))

    def describe(self) -> str:
        """Describe the function in a few words."""
        logit = f"logit of a focal loss of {self.focal_gamma:g}" if self.focal_gamma else "logit"
        if self.method == "isotonic":
            return f"isotonic, {len(self.knots)} steps of the {logit}"
        if self.method == "platt":
            return f"platt, {self.slope:.3f} * {logit} {self.intercept:+.3f}"
        return "none" if self.is_identity else f"none, {logit} {self.intercept:+.3f}"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that are not the default, as JSON holds them."""
        changed = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        }
        return {n: list(v) if isinstance(v, tuple) else v for n, v in changed.items()}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Calibration":
        """Create a calibration from `to_dict`.

        Args:
            fields: the fields.
        """
        given: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in fields.items()
        }
        return cls(**given)


def calibration_of(model: Any) -> Calibration:
    """Return the calibration of a model, the default one for models that know of none.

    Args:
        model: any model whose output is a logit.
    """
    found = getattr(model, "calibration", None)
    return found if isinstance(found, Calibration) else Calibration()


def fit_platt(logits: np.ndarray, labels: np.ndarray) -> Calibration:
    """Fit the line of Platt scaling to held-out rows, by maximum likelihood.

        minimise  -sum of t log p + (1 - t) log(1 - p),   p = 1 / (1 + exp(-(a x + b))),   a >= 0
        t = (P + 1) / (P + 2) for the P positive rows,    t = 1 / (N + 2) for the N others

    The targets t are those of Platt (1999, "Probabilistic Outputs for Support Vector Machines"),
    with which the line is finite even where logits separate the labels. The slope is bounded, so
    that a model worse than chance gets one probability for all rows instead of a reversed order.
    The minimum is found from standardised logits (compare Lin et al., 2007, "A Note on Platt's
    Probabilistic Outputs").

    Args:
        logits: of rows that the model was not trained on, `(rows,)`.
        labels: 0 or 1, `(rows,)`, of both kinds.

    Raises:
        ValueError: if logits are no finite numbers, a label is neither 0 nor 1, all labels are
            the same, or the lengths differ.

    Example:

    >>> rng = np.random.default_rng(0)
    >>> logits = rng.normal(size=20_000)
    >>> chance = 1 / (1 + np.exp(1 - 0.5 * logits))  # the model is twice too sure, and too high
    >>> labels = rng.random(20_000) < chance
    >>> found = fit_platt(logits, labels)
    >>> round(found.slope, 1), round(found.intercept, 1)
    (0.5, -1.0)
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    x, targets = _checked("fit_platt", logits, labels)
    center, scale = float(x.mean()), float(x.std())
    rate = float(targets.mean())
    if not scale > 1e-9 * max(1.0, abs(center)):  # one logit, of which a slope says nothing
        return Calibration("platt", 1.0, math.log(rate / (1 - rate)) - center)
    standard = (x - center) / scale

    def loss(line: np.ndarray) -> tuple[float, np.ndarray]:
        z = line[0] * standard + line[1]
        errors = expit(z) - targets
        value = np.mean(np.logaddexp(0.0, z) - targets * z)
        return float(value), np.array([np.mean(errors * standard), np.mean(errors)])

    found = minimize(
        loss,
        np.array([1.0, math.log(rate / (1 - rate))]),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, None), (None, None)],
        options={"ftol": 1e-15, "gtol": 1e-10, "maxiter": 1000},
    )
    slope, intercept = map(float, found.x)
    return Calibration("platt", slope / scale, intercept - slope * center / scale)


def fit_isotonic(logits: np.ndarray, labels: np.ndarray) -> Calibration:
    """Fit an increasing function of the logit to held-out rows, of no other form.

    Neighbouring rows whose labels fall are pooled into blocks (pool adjacent violators; Zadrozny
    and Elkan, 2002, "Transforming Classifier Scores into Accurate Multiclass Probability
    Estimates"). Each block is a knot at its mean logit, with the log odds of its mean target; the
    function is straight between knots, as in centered isotonic regression (Oron and Flournoy,
    2017), and constant beyond the ends. The targets are those of `fit_platt`, so that no
    probability is 0 or 1. Blocks of fewer than 100 rows, or a twentieth of the rows where they are
    fewer than 2,000, are joined to the one before.

    Args:
        logits: see `fit_platt`. Take this function where there are thousands of rows.
        labels: see `fit_platt`.

    Raises:
        ValueError: as in `fit_platt`.

    Example:

    >>> found = fit_isotonic(np.array([1.0, 2.0, 3.0, 4.0]), np.array([0, 1, 0, 1]))
    >>> found.knots, found.probability(np.array([0.0, 2.5, 9.0])).round(4).tolist()
    ((1.0, 2.5, 4.0), [0.25, 0.5, 0.75])
    """
    from scipy.optimize import isotonic_regression

    x, targets = _checked("fit_isotonic", logits, labels)
    # Served logits are float32, in which close ones are equal.
    points, of = np.unique(x.astype(np.float32), return_inverse=True)
    rows = np.bincount(of).astype(float)
    fitted = isotonic_regression(np.bincount(of, targets) / rows, weights=rows)
    starts = fitted.blocks[:-1]
    least = min(LEAST_ROWS, -(-len(x) // 20))
    blocks: list[np.ndarray] = []  # rows, sum of logits, sum of targets
    sums = (rows, rows * points, rows * fitted.x)
    for block in np.stack([np.add.reduceat(one, starts) for one in sums], axis=1):
        if blocks and (block[0] < least or blocks[-1][0] < least):
            blocks[-1] = blocks[-1] + block
        else:
            blocks.append(block)
    count, logit, target = np.stack(blocks, axis=1)
    means = target / count
    values = np.log(means) - np.log1p(-means)
    knots, kept = np.unique((logit / count).astype(np.float32), return_index=True)
    return Calibration("isotonic", knots=tuple(knots.tolist()), values=tuple(values[kept].tolist()))


FITS = {"platt": fit_platt, "isotonic": fit_isotonic}


def _checked(owner: str, logits: Any, labels: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return logits as float64 and the targets of Platt, of rows of both labels.

    Raises:
        ValueError: if they are something else.
    """
    x, y = (np.asarray(values, np.float64) for values in (logits, labels))
    if x.ndim != 1 or x.shape != y.shape or not len(x):
        raise ValueError(
            f"{owner}: expected one logit and one label of each row; received arrays of shapes "
            f"{x.shape} and {y.shape}. Flatten them to (rows,)."
        )
    if not np.isfinite(x).all():
        raise ValueError(
            f"{owner}: logits must be finite numbers; received {int((~np.isfinite(x)).sum())} of "
            f"{len(x)} that are not. Find out why the model gives them."
        )
    positives = int((y == 1).sum())
    others = int((y == 0).sum())
    if positives + others < len(y):
        raise ValueError(
            f"{owner}: labels must be 0 or 1; received {np.unique(y)!r:.80}. Make them binary "
            "first, for example ratings >= 4."
        )
    if not positives or not others:
        raise ValueError(
            f"{owner}: needs held-out rows of both labels; received {len(y)} rows that are all "
            f"{int(y[0])}. Hold more rows out, or leave the probabilities as they are."
        )
    return x, np.where(y == 1, (positives + 1) / (positives + 2), 1 / (others + 2))
