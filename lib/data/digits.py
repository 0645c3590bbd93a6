"""Handwritten digits: those that scikit-learn ships, and the form that MNIST shares.

A character is a digit, and its images are what different hands made of it. What the images differ
in has no name, so no pose is known.
"""

import hashlib

import numpy as np

from lib.data.image_set import UNKNOWN, Attribution, ImageSet, distinct_images

DIGITS = tuple("0123456789")
ATTRIBUTION = Attribution(
    "handwritten digits",
    "Digits: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits (UCI 1998, CC BY 4.0),"
    " as shipped with scikit-learn.",
    character="digit",
)
LEVELS = 16  # the brightest pixel of scikit-learn's images
# the fingerprint of `read_digits`, known without reading them
DIGITS_STAMP = "digits 3dada674d0c74a4b170c70c580aa67ac2a602215a4d9e86bc5bff192174e48e8"


def read_digits() -> ImageSet:
    """The 1,797 digits that scikit-learn ships, each of their 8x8 pixels as 2x2."""
    from sklearn.datasets import load_digits  # takes seconds to import

    shipped = load_digits()
    grey = np.rint(shipped.images * 255 / LEVELS).astype(np.uint8)
    return digit_set(
        "digits", grey.repeat(2, axis=1).repeat(2, axis=2), shipped.target, ATTRIBUTION
    )


def digit_set(
    source: str, grey: np.ndarray, digit: np.ndarray, attribution: Attribution
) -> ImageSet:
    """The image set of grey digits, sorted by digit; those of one digit keep their order.

    Shapes: `grey` (N, H, H) uint8, `digit` (N,) the digit that each shows. All ten occur.
    """
    order = np.argsort(digit, kind="stable")
    images = grey[order, :, :, None].repeat(3, axis=3)
    return ImageSet(
        source=source,
        images=images,
        character=digit[order].astype(np.int64),
        names=DIGITS,
        distinct=distinct_images(images),
        fingerprint=f"{source} {hashlib.sha256(images).hexdigest()}",
        attribution=attribution,
        pose=np.full(len(images), UNKNOWN),
    )
