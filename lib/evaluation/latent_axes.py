"""What each axis of z changes in the decoded image."""

import numpy as np

from lib.data.images import to_uint8
from lib.evaluation.codes import Codes, subsample
from lib.evaluation.swaps import decode_codes, image_errors
from lib.method.networks import CycleVAE

MEASURED = 64  # images whose z is moved
STEPS = 7  # images from one end of an axis to the other


def order_by_effect(model: CycleVAE, codes: Codes, images: np.ndarray, seed: int) -> np.ndarray:
    """(Z,) the axes of z, the strongest first.

    The effect of an axis is the squared error between the decoded images before and after z moved
    along it by its standard deviation, a mean over some of the `images` (n,), which are indices.
    """
    chosen = subsample(images, MEASURED, seed)
    z, s = codes.z_mu[chosen], codes.s[chosen]
    before, deviation = decode_codes(model, z, s), codes.z_mu[images].std(axis=0)
    effects = [
        image_errors(decode_codes(model, z + deviation * unit, s), before)[:, 0].mean()
        for unit in np.eye(z.shape[1], dtype=np.float32)
    ]
    return np.argsort(effects)[::-1]


def along_axes(
    model: CycleVAE, z: np.ndarray, s: np.ndarray, axes: np.ndarray, ranges: np.ndarray
) -> np.ndarray:
    """(A, STEPS, H, H, 3) uint8: decoded images while one of the `axes` (A,) of z moves.

    It moves from -ranges[axis] to ranges[axis]. The others keep the values of z (Z,); s is (S,).
    """
    moved = np.tile(z, (len(axes), STEPS, 1))
    for row, axis in zip(moved, axes, strict=True):
        row[:, axis] = np.linspace(-ranges[axis], ranges[axis], STEPS)
    flat = moved.reshape(-1, len(z))
    images = to_uint8(decode_codes(model, flat, np.tile(s, (len(flat), 1))))
    return images.reshape(len(axes), STEPS, *images.shape[1:])
