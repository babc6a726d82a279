import numpy as np
import pytest

from kerasrec.losses import gbce_loss, sampled_softmax


def test_sampled_softmax_by_hand():
    loss = sampled_softmax(np.log([3.0]), np.log([[1.0, 2.0]]))
    assert float(loss[0]) == pytest.approx(np.log(6 / 3), rel=1e-6)


def test_binary_cross_entropy_by_hand():
    positive, negatives = np.array([0.5]), np.array([[0.0, -1.0]])
    sigma = 1 / (1 + np.exp(-np.array([0.5, 0.0, -1.0])))
    wanted = -(np.log(sigma[0]) + np.log(1 - sigma[1]) + np.log(1 - sigma[2])) / 3
    assert float(gbce_loss(positive, negatives)[0]) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize(("calibration", "beta"), [(0.0, 1.0), (1.0, 0.1), (0.75, 0.325)])
def test_calibration_weakens_the_positive(calibration, beta):
    loss = gbce_loss(np.zeros(1), np.zeros((1, 1)), sampling_rate=0.1, calibration=calibration)
    assert float(loss[0]) == pytest.approx((beta + 1) * np.log(2) / 2, rel=1e-6)


@pytest.mark.parametrize("wrong", [{"sampling_rate": 0}, {"calibration": 1.5}])
def test_shares(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be a number"):
        gbce_loss(np.zeros(1), np.zeros((1, 1)), **wrong)
