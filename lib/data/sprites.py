"""The structure of 2D Sprites (Reed et al., NIPS 2015), which the drawn sprites share.

All characters have the same poses (action, view, frame), so each swap, the s of one character and
the z of another's pose, has a true image. Image n shows character n // N_POSES in pose n % N_POSES.
"""

from collections.abc import Sequence

import numpy as np

from lib.data.image_set import Attribution, Factor, ImageSet, distinct_images

SIZE = 60  # pixels, both sides
ACTIONS = ("spellcast", "thrust", "walk", "slash", "shoot", "hurt")
# where the character faces, in the order of the Liberated Pixel Cup sheets
VIEWS = ("up", "left", "down", "right")


ANIMATIONS = (  # (action, view, frames) in published order
    *(
        (action, view, frames)
        for action, frames in zip(ACTIONS[:5], (7, 8, 9, 6, 13), strict=True)
        for view in VIEWS
    ),
    ("hurt", "down", 6),
)
POSES = np.array(  # (178,): index into ACTIONS, index into VIEWS, frame
    [(ACTIONS.index(a), VIEWS.index(v), f) for a, v, frames in ANIMATIONS for f in range(frames)],
    dtype=[("action", np.uint8), ("view", np.uint8), ("frame", np.uint8)],
)
N_POSES = len(POSES)
FRAMES = np.array([frames for *_, frames in ANIMATIONS])
MIDDLES = (np.cumsum(FRAMES) - FRAMES + FRAMES // 2)[::2]  # of every second animation
POSE_NAMES = tuple(f"{a} {v} {f}" for a, v, frames in ANIMATIONS for f in range(frames))
FACTORS = {
    "action": Factor(POSES["action"].astype(np.int64), ACTIONS),
    "view": Factor(POSES["view"].astype(np.int64), VIEWS),
    "frame": Factor(POSES["frame"].astype(np.int64), tuple(map(str, range(13)))),
}
ATTRIBUTIONS = {
    "sprites": Attribution(
        "2D Sprites",
        "Sprites: Liberated Pixel Cup (CC-BY-SA 3.0 and GPL 3.0), as published by Reed et al. (NIPS"
        " 2015).",
        *("character", "sprite", "outfit"),
    ),
    "drawn": Attribution(
        "drawn sprites",
        "All sprites were drawn by this project's code (lib/data/drawn.py); the report shows no"
        " third-party art.",
        *("character", "sprite", "outfit"),
    ),
}


def sprite_set(
    source: str,
    images: np.ndarray,
    labels: np.ndarray,
    attributes: Sequence[str],
    numbers: np.ndarray,
    fingerprint: str,
) -> ImageSet:
    """The image set of sprites, whose characters have all poses.

    Shapes: `images` (C * N_POSES, 60, 60, 3) uint8, `labels` (C, L) the values of the attributes,
        `numbers` (C,) of the characters in their source. Characters of an outfit differ in skin and
        weapon alone.
    """
    worn = [k for k, name in enumerate(attributes) if name not in ("skin", "weapon")]
    return ImageSet(
        source=source,
        images=images,
        character=np.arange(len(images)) // N_POSES,
        names=tuple(f"no. {number}" for number in numbers),
        distinct=distinct_images(images),
        fingerprint=fingerprint,
        attribution=ATTRIBUTIONS[source],
        pose=np.arange(len(images)) % N_POSES,
        pose_names=POSE_NAMES,
        factors=FACTORS,
        labels=labels,
        attributes=tuple(attributes),
        cluster_of_character=np.unique(labels[:, worn], axis=0, return_inverse=True)[1].reshape(-1),
    )


def pose_number(action: str, view: str, frame: int) -> int:
    """The row of `POSES` of a frame, counted from 0. Raises ValueError where there is none."""
    return POSES.tolist().index((ACTIONS.index(action), VIEWS.index(view), frame))
