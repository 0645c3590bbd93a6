"""Sprites drawn by code: the structure and the truth of the published 2D Sprites, our own art.

How an image is made
  1. `MOVES` has 17 numbers for every frame of every action: the places of body, hands, feet and
     weapon in the space of the character (right, up, forward). `make_pose` projects them for the
     view that the character faces. So one row serves all four views.
  2. Each of `PARTS` draws one layer for every pose and every value of its attribute: a canvas
     (60, 60) of materials and tones, 0 where it is empty. A layer depends on one attribute only.
  3. `_paint` stacks the layers of a character, the far ones first, and colours them.

Characters come in twins that differ in the weapon alone: a bow, which is seen only in the middle of
a shot, or a spear, which is seen only in the middle of a thrust or a slash. The other images of
twins are equal to the bit. All arithmetic is on small numbers and rounds in one way (IEEE 754), so
the images are the same on every machine.

To add a hat: (1) add `"hat": ("none", "cone")` to `ATTRIBUTES`, before the weapon; (2) write
`draw_hat(canvas, pose, value)`, which paints around `pose.head` with `fill`, and nothing for value
0; (3) add `Part("hat", draw_hat, lambda pose: 2.5)` to `PARTS`: 2.5 is just in front of the hair;
(4) add a new colour to `MATERIALS`. The number of characters then doubles.
"""

import itertools
from collections import namedtuple
from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from lib.data.image_set import ImageSet
from lib.data.sprites import ACTIONS, N_POSES, POSES, SIZE, VIEWS, sprite_set

# Names this version of the images. Change it whenever an image changes; a test compares SHA-256.
FINGERPRINT = "drawn dc461c47b55400202c9e232e507d1b3b8f861be3e9787693264b3294412840b8"
ATTRIBUTES = {  # the values of each, in the order of their numbers; the weapon comes last
    "skin": ("pale", "brown", "green"),
    "hair_style": ("short", "spiky", "long", "ponytail"),
    "hair_colour": ("blond", "auburn", "black", "white"),
    "torso": ("tunic", "plate", "robe", "vest"),
    "arms": ("bare with bracers", "sleeves with pauldrons"),
    "legs": ("trousers and leather boots", "kilt and steel boots"),
    "weapon": ("bow", "spear"),
}
MATERIALS = {  # RGB in plain light; "skin" and "hair" are the character's own
    "skin": ((240, 196, 158), (156, 102, 66), (134, 184, 96)),
    "hair": ((234, 196, 84), (172, 74, 40), (74, 66, 84), (224, 226, 236)),
    "eye": (245, 245, 245),
    "pupil": (120, 80, 60),
    "linen": (222, 214, 196),
    "green": (74, 150, 72),
    "steel": (168, 178, 196),
    "violet": (136, 84, 172),
    "red": (190, 58, 54),
    "gold": (226, 178, 66),
    "leather": (142, 92, 52),
    "blue": (64, 98, 186),
    "navy": (74, 82, 128),
    "rust": (178, 102, 50),
    "wood": (166, 116, 62),
    "blade": (206, 218, 232),
    "gem": (98, 206, 214),
}
OUTLINE, DARK, MID, LIGHT = range(4)
TONES = np.array((30, 68, 100, 122))  # per cent of a material's colour
# a pixel of a canvas is CODE[material] + tone
CODE = {name: 1 + len(TONES) * i for i, name in enumerate(MATERIALS)}


# A frame: body (drop, back, lean); right, then left hand from its shoulder (out, up, forward);
# right, then left foot (forward, lift); weapon's axis (right, up, forward), 0 0 0 while it is put
# away; 1 while the bow is drawn. In pixels; a frame a line.
MOVES = {
    "spellcast": """
         0   0   0   -4  -8   4   -4  -8   4    0   0   0   0    0   0   0    0
         1   0   0   -5  -6   6   -5  -6   6    0   0   0   0    0   0   0    0
         2   0   1   -5  -3   7   -5  -3   7    0   0   0   0    0   0   0    0
         1   0   0    0  -4   7    0  -4   7    0   0   0   0    0   0   0    0
         0   0   0    8  -2   3    8  -2   3    0   0   0   0    0   0   0    0
        -1   0  -1    6   7   1    6   7   1    0   0   0   0    0   0   0    0
         0   0   0    5  -6   3    5  -6   3    0   0   0   0    0   0   0    0""",
    "thrust": """
         0   0   0   -1  -9   3   -3  -8   5    1   0  -1   0    0   0   0    0
         1  -1  -1    1  -8  -3   -4  -6   5    2   0  -2   0    0   2  13    0
         1  -3  -1    2  -7  -6   -4  -6   4    3   0  -3   0    0   2  13    0
         1  -1   0    1  -6   0   -4  -6   7    3   0  -3   0    0   1  14    0
         2  -1   2    0  -4   6   -5  -6   6   -6   0   3   0    0   0  14    0
         2  -3   3    0  -3   9   -5  -7   5  -10   0   2   0    0  -1  13    0
         1   0   1    0  -5   5   -4  -7   5   -4   0   3   0    0   1  14    0
         0   0   0    0 -10   2   -1  -9   3    0   0   1   0    0   0   0    0""",
    "walk": """
         0   0   0    2 -11   0    2 -11   0    0   0   0   0    0   0   0    0
         1   0   0    2 -10  -5    2 -10   5    7   0  -7   1    0   0   0    0
         0   0   0    2 -11  -3    2 -11   3    4   0  -3   3    0   0   0    0
        -1   0   0    2 -11   0    2 -11   1    0   0   2   4    0   0   0    0
         0   0   0    2 -11   4    2 -11  -3   -4   0   6   2    0   0   0    0
         1   0   0    2 -10   6    2 -10  -5   -7   1   7   0    0   0   0    0
         0   0   0    2 -11   4    2 -11  -2   -3   3   4   0    0   0   0    0
        -1   0   0    2 -11   1    2 -11   0    2   4   0   0    0   0   0    0
         0   0   0    2 -11  -3    2 -11   3    6   2  -4   0    0   0   0    0""",
    "slash": """
         1   0   1   -6  -9   5    1 -10   1    0   0   0   0    0   0   0    0
         0  -1   0    3   2  -3    0  -9   4   -3   0   2   0    6   9  -8    0
         0   0   0    5   3   2    1  -9   3   -3   0   3   0    8   8   6    0
         1   0   1    5  -2   8    2  -9   0   -4   0   4   0    5   1  12    0
         2   0   2   -4  -5   8    3  -8  -3   -5   0   5   0  -12  -3   8    0
         2   0   2   -8  -6   5    4  -8  -4   -5   0   5   0  -13  -4  -3    0""",
    "shoot": """
         0   0   0    2   2  -4    2 -10   2    0   0   0   0    0   0   0    0
         0   0   0   -3  -7   5    0  -7   7    0   0   1   0    0   6  11    0
         0   0   0   -4  -5   7    0  -4   9   -1   0   2   0    0  10   8    0
         0   0   0   -4  -2   8    1  -1  11   -2   0   3   0    0  13   3    0
         0   0   0   -3  -1   5    1   0  11   -2   0   3   0    0  13   0    1
         0   0   0   -2  -1   3    1   0  11   -3   0   3   0    0  13   0    1
         0   0   0   -1   0   1    1   0  11   -3   0   3   0    0  13   0    1
         1   0  -1    0   0   0    1   0  11   -3   0   3   0    0  13   0    1
         1   0  -1    1   0  -2    1   0  12   -3   0   3   0    0  13   0    1
         0   0  -1    3   1  -4    1   0  11   -3   0   3   0    0  13   0    0
         0   0   0    3  -4  -2    1  -1  11   -2   0   3   0    0  13   2    0
         0   0   0    2  -9   0    1  -5   9   -1   0   2   0    0   9   9    0
         0   0   0    2 -11   2    1 -10   4    0   0   1   0    0   0   0    0""",
    "hurt": """
         0  -2  -2    6  -3   3    6  -3   3    0   0   0   0    0   0   0    0
         3  -1   2    3  -9   4    3  -9   4    1   0  -2   0    0   0   0    0
         6  -1   3    3  -8   5    3  -8   5   -3   0  -5   0    0   0   0    0
         8  -3   7    5  -7   7    5  -7   7   -8   0 -10   0    0   0   0    0
        12 -34  17    6  -2   5    6  -2   5  -48   0 -50   0    0   0   0    0
        13 -43  23    8   0   2    8   0   2  -62   0 -65   0    0   0   0    0""",
}
HIP, SPINE, ARM, LEG = 16, 11, 12, 14  # the height of the hip and lengths, pixels
GROUND = 52  # the screen row of the soles
TILT = 0.4  # rows down for a pixel towards the viewer, because we look from above
FACING = {"up": (1, 0, 0, -1), "left": (0, -1, -1, 0), "down": (-1, 0, 0, 1), "right": (0, 1, 1, 0)}
MIRROR = np.array([[1, 1, 1], [-1, 1, 1]])  # a character's right and left

# A skeleton on the screen, points as (column, row); plural fields are pairs, the right of the
# character first. `gaze` is the view of the head, "up" also where it hangs so low that only hair is
# seen; `side` is where the nose points: -1, 1, or 0.
Pose = namedtuple(
    "Pose",
    "action view gaze side head chest hip shoulders elbows hands thighs knees feet arms_in_front"
    " near_leg axis armed drawn",
)


Point = tuple[int, int]


def make_pose(action: str, view: str, frame: int) -> Pose:
    """The pose of a frame of `MOVES`, seen from a view."""
    row = np.array(MOVES[action].split(), dtype=int).reshape(-1, 17)[frame]
    drop, back, lean = row[:3]
    right_across, forward_across, right_near, forward_near = FACING[view]

    def near(points: np.ndarray) -> np.ndarray:
        return points[..., 0] * right_near + points[..., 2] * forward_near

    def project(points: np.ndarray) -> list:
        across = points[..., 0] * right_across + points[..., 2] * forward_across
        return (
            np.rint([SIZE // 2 + across, GROUND - points[..., 1] + TILT * near(points)])
            .astype(int)
            .T.tolist()
        )

    def joint(start: np.ndarray, end: np.ndarray, length: float, bend: np.ndarray) -> np.ndarray:
        spare = np.maximum(0, length - np.sqrt(np.square(end - start).sum(axis=1, keepdims=True)))
        return (start + end) / 2 + spare / 2 * bend

    hip = np.array([0, HIP - drop, back])
    spine = np.array([0, np.sqrt(max(0, SPINE**2 - lean**2)), lean])
    shoulders = hip + spine + MIRROR * (7, -2, 0)
    hands = shoulders + MIRROR * row[3:9].reshape(2, 3)
    hands[:, 1] = np.maximum(hands[:, 1], 2)
    thighs = hip + MIRROR * (3.5, 0, 0)
    feet = np.array([[4, row[10] + 2, row[9]], [-4, row[12] + 2, row[11]]])
    points = dict(
        head=hip + 1.75 * spine,
        chest=hip + spine,
        hip=hip,
        shoulders=shoulders,
        hands=hands,
        thighs=thighs,
        feet=feet,
        elbows=joint(shoulders, hands, ARM, MIRROR * (1, -0.5, -1)),
        knees=joint(thighs, feet, LEG, np.array([0, 0, 1])),
    )
    column, level = project(row[13:16])
    return Pose(
        action,
        view,
        gaze="up" if lean > SPINE else view,
        side=forward_across,
        near_leg=int(near(feet).argmax()),
        arms_in_front=near((shoulders + 2 * hands) / 3 - hip - spine) >= 0,
        axis=(column - SIZE // 2, level - GROUND),
        armed=row[13:16].any(),
        drawn=row[16] == 1,
        **{name: project(at) for name, at in points.items()},
    )


ROW, COLUMN = np.mgrid[:SIZE, :SIZE]  # masks of shapes are (60, 60) bool


def ellipse(centre: Point, rx: float, ry: float) -> np.ndarray:
    """The mask of an ellipse; whole radii would leave a single pixel at each end."""
    return ((COLUMN - centre[0]) * ry) ** 2 + ((ROW - centre[1]) * rx) ** 2 <= (rx * ry) ** 2


def limb(start: Point, end: Point, radius: float) -> np.ndarray:
    """The mask of all that is at most `radius` from a segment."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    along = np.clip(
        ((COLUMN - start[0]) * dx + (ROW - start[1]) * dy) / max(dx * dx + dy * dy, 1), 0, 1
    )
    return (COLUMN - start[0] - along * dx) ** 2 + (ROW - start[1] - along * dy) ** 2 <= radius**2


def between(a: Point, b: Point, share: float) -> Point:
    return round(a[0] + share * (b[0] - a[0])), round(a[1] + share * (b[1] - a[1]))


def shift(mask: np.ndarray, dx: int, dy: int) -> np.ndarray:
    """The mask moved right and down, by at most 2 pixels."""
    return np.pad(mask, 2)[2 - dy : 2 - dy + SIZE, 2 - dx : 2 - dx + SIZE]


def fill(canvas: np.ndarray, mask: np.ndarray, material: str, bevel: int = 1) -> None:
    """Paints a shape with an outline, lit from the upper left over an edge of `bevel` pixels."""
    code = CODE[material]
    canvas[
        (shift(mask, 1, 0) | shift(mask, -1, 0) | shift(mask, 0, 1) | shift(mask, 0, -1)) & ~mask
    ] = code + OUTLINE
    canvas[mask] = code + MID
    canvas[mask & ~shift(mask, bevel, bevel)] = code + LIGHT
    canvas[mask & ~shift(mask, -bevel, -bevel)] = code + DARK


def recolour(canvas: np.ndarray, mask: np.ndarray, material: str) -> None:
    """Gives what is already painted there another material, in the same tones."""
    painted = mask & (canvas > 0)
    canvas[painted] = CODE[material] + (canvas[painted] - 1) % len(TONES)


def draw_legs(canvas: np.ndarray, pose: Pose, value: int) -> None:
    for i in (1 - pose.near_leg, pose.near_leg):
        (x, y), knee = pose.feet[i], pose.knees[i]
        fill(
            canvas, limb(pose.thighs[i], knee, 2.5) | limb(knee, (x, y), 2), ("navy", "skin")[value]
        )
        sole = ellipse((x + 2 * pose.side, y), 4.3 if pose.side else 3.3, 2.3)
        fill(
            canvas,
            sole | limb(between((x, y), knee, 0.5), (x, y), 2.3),
            ("leather", "steel")[value],
        )
    if value == 1:
        hem = [
            between(thigh, knee, 0.9) for thigh, knee in zip(pose.thighs, pose.knees, strict=True)
        ]
        kilt = limb(pose.hip, hem[0], 4) | limb(pose.hip, hem[1], 4) | limb(hem[0], hem[1], 3)
        fill(canvas, kilt, "rust", 2)
        recolour(canvas, kilt & ((COLUMN - pose.hip[0]) % 4 == 0), "gold")


def draw_torso(canvas: np.ndarray, pose: Pose, value: int) -> None:
    (x, y), waist = pose.chest, pose.hip[1]
    wide, from_behind, fallen = 4.5 if pose.side else 6, pose.gaze == "up", pose.gaze != pose.view
    body = limb((x, y + round(wide) - 2), pose.hip, wide) & (ROW <= max(waist, y) + 3)
    hem = waist if fallen else between(pose.hip, between(*pose.feet, 0.5), 0.55)[1]
    if value == 2:
        body |= limb(pose.hip, (pose.hip[0], hem), wide + (not fallen)) & (ROW <= hem + 3)
    fill(canvas, limb(pose.head, pose.chest, 2.5), "skin")
    fill(canvas, body, ("green", "steel", "violet", "red")[value], 2)
    off_middle = abs(COLUMN - x - 3 * pose.side)
    belt = body & (ROW >= waist) & (ROW <= waist + 1)
    if value == 0:
        recolour(canvas, belt, "leather")
        recolour(canvas, body & (off_middle + ROW - y < 5) & (pose.gaze == "down"), "skin")
    elif value == 1:
        recolour(canvas, belt, "gold")
        canvas[body & (off_middle == 0) & (not from_behind)] = CODE["steel"] + LIGHT
        canvas[body & (ROW == y + 7)] = CODE["steel"] + DARK
    elif value == 2:
        recolour(
            canvas, body & ((ROW >= hem + 2) | ((off_middle <= 1) & (not from_behind))), "gold"
        )
    else:
        recolour(canvas, body & (off_middle <= 2) & (not from_behind), "linen")


def draw_arm(canvas: np.ndarray, pose: Pose, value: int, i: int) -> None:
    shoulder, elbow, hand = pose.shoulders[i], pose.elbows[i], pose.hands[i]
    fill(
        canvas,
        limb(shoulder, elbow, 2) | limb(elbow, hand, 1.6) | ellipse(hand, 2.3, 2.3),
        ("skin", "blue")[value],
    )
    if value == 0:
        recolour(canvas, limb(between(elbow, hand, 0.3), between(elbow, hand, 0.6), 2.9), "gold")
    recolour(canvas, ellipse(hand, 2.9, 2.9), "skin")
    if value == 1:
        fill(canvas, ellipse(shoulder, 3.2, 2.8), "steel")


def draw_head(canvas: np.ndarray, pose: Pose, _: int) -> None:
    (x, y), side = pose.head, pose.side
    for ear in (-2 * side,) if side else (-9, 9):
        fill(canvas, ellipse((x + ear, y + 2), 1.5, 2.3), "skin")
    fill(canvas, ellipse((x, y), 8.4, 8.6), "skin", 2)
    if pose.gaze == "up":
        return
    if side:
        fill(canvas, ellipse((x + 8 * side, y + 3), 1.2, 1.2), "skin")
    for eye, pupil in ((5 * side, 6 * side),) if side else ((-4, -3), (4, 3)):
        canvas[y + 1 : y + 4, x + eye] = CODE["eye"] + MID
        canvas[y + 1 : y + 4, x + pupil] = CODE["pupil"] + OUTLINE
    canvas[y + 6, x + 4 * side - 1 : x + 4 * side + 2] = CODE["skin"] + DARK


def draw_hair(canvas: np.ndarray, pose: Pose, value: int) -> None:
    (x, y), side, style = pose.head, pose.side, ATTRIBUTES["hair_style"][value]
    from_behind = pose.gaze == "up"
    # the hair of a fallen character lies on its back, which is up the screen
    down = 1 if pose.gaze == pose.view else -1
    hair = ellipse((x - side, y - 1), 9.4, 9.4)
    if from_behind:
        hair &= ROW <= y + (6 if down == 1 else 9)
    elif side:
        hair &= ~(ellipse((x + 5 * side, y + 4), 6.6, 7.5) & (ROW > y - 2 - COLUMN % 2)) & (
            ROW <= y + 5
        )
    else:
        hair &= ~(ellipse((x, y + 4), 7, 7.5) & (ROW > y - 2 - abs(COLUMN - x) % 3 // 2)) & (
            ROW <= y + 4
        )
    if style == "spiky":
        for dx in (-8, -4, 0, 4, 8):
            hair |= limb(
                (x + dx * 3 // 4, y - 5), (x + dx * 3 // 2 - 2 * side, y - 12 + abs(dx) // 2), 1.5
            )
    if style == "long":
        if side:
            hair |= limb((x - 6 * side, y), (x - 7 * side, y + 12), 3)
        for dx, wide in (
            () if side else ((-4, 4), (4, 4)) if from_behind else ((-8.5, 1.6), (8.5, 1.6))
        ):
            hair |= limb((x + dx, y), (x + dx, y + 12 * down), wide)
    fill(canvas, hair, "hair", 2)
    shine = (
        ellipse((x - 2, y - 3), 6.4, 6.4)
        & ~ellipse((x - 1, y - 2), 5.4, 5.4)
        & (COLUMN + ROW < x + y - 3)
    )
    canvas[hair & shine] = CODE["hair"] + LIGHT
    canvas[hair & shift(hair, 0, -2) & ((COLUMN - x) % 4 == 2) & (ROW > y - 4)] = (
        CODE["hair"] + DARK
    )
    if style == "ponytail":
        if from_behind:
            fill(canvas, limb((x, y - 7 * down), (x, y + 12 * down), 2.5), "hair")
        elif side:
            bend = (x - 12 * side, y)
            fill(
                canvas,
                limb((x - 7 * side, y - 6), bend, 2) | limb(bend, (bend[0], y + 7), 2),
                "hair",
            )
        fill(canvas, ellipse((x - 3 * side, y - 10), 3.5, 2.5), "hair")


def draw_weapon(canvas: np.ndarray, pose: Pose, value: int) -> None:
    """The bow in a shot, the spear in a thrust or a slash: each character has one of them."""
    has_bow, shoots = value == 0, pose.action == "shoot"
    if not pose.armed or has_bow != shoots:
        return
    hand, (ax, ay) = pose.hands[shoots], pose.axis

    def along(share: float, bend: int = 0) -> Point:
        return round(hand[0] + share * ax - bend * pose.side), round(hand[1] + share * ay)

    if not shoots:
        fill(canvas, limb(along(-1.3), along(1.1), 0.8), "wood")
        fill(canvas, limb(along(1.1), along(1.3), 1.5), "gem")
        return
    tips = along(-1.25, 5), along(1.25, 5)
    nock = pose.hands[0] if pose.drawn and pose.side else between(*tips, 0.5)
    canvas[limb(tips[0], nock, 0.5) | limb(nock, tips[1], 0.5)] = CODE["linen"] + MID
    for tip, end in zip(tips, (-0.6, 0.6), strict=True):
        fill(canvas, limb(tip, along(end, 1), 0.8) | limb(along(end, 1), hand, 0.8), "wood")
    if pose.drawn:  # towards the viewer only the head of the arrow is seen
        arrow = (
            limb(nock, between(nock, hand, 1.3), 0.5)
            if pose.side
            else ellipse((hand[0], hand[1] - 2), 1, 1)
        )
        canvas[arrow] = CODE["blade"] + LIGHT


class Part(NamedTuple):
    """One layer: its attribute, its drawing, and its depth in a pose (the deepest first)."""

    attribute: str
    draw: Callable[[np.ndarray, Pose, int], None]
    depth: Callable[[Pose], float]


def arm_depth(pose: Pose, i: int) -> float:
    """In front of everything or behind it; just under the head where the character lies."""
    return (3 if pose.gaze == pose.view else 0.5) if pose.arms_in_front[i] else -3


def weapon_depth(pose: Pose) -> float:
    """A bow is in front of the left hand, other weapons are under the fingers of the right one."""
    return arm_depth(pose, 1) + 0.5 if pose.action == "shoot" else arm_depth(pose, 0) - 0.5


PARTS = (
    Part("weapon", draw_weapon, weapon_depth),
    Part("legs", draw_legs, lambda pose: -1),
    Part("torso", draw_torso, lambda pose: 0),
    Part("skin", draw_head, lambda pose: 1),
    Part("hair_style", draw_hair, lambda pose: 2),
    Part("arms", partial(draw_arm, i=0), lambda pose: arm_depth(pose, 0)),
    Part("arms", partial(draw_arm, i=1), lambda pose: arm_depth(pose, 1)),
)


def character_labels() -> np.ndarray:
    """(C, L) uint8: a quarter of all combinations; the values of any two attributes are balanced.

    Two outfits (hair, torso, arms and legs) differ in at least two attributes. Skin and weapon vary
    freely, so an identity has neighbours that differ in the skin alone.
    """
    ranges = (range(len(values)) for values in ATTRIBUTES.values())
    labels = np.array(list(itertools.product(*ranges)), dtype=np.uint8)
    value = dict(zip(ATTRIBUTES, labels.T, strict=True))
    outfit = value["hair_style"] + value["hair_colour"] + value["torso"] + value["arms"]
    return labels[(outfit + 2 * value["legs"]) % 4 == 0]


def draw_characters(labels: np.ndarray, progress: bool = False) -> np.ndarray:
    """(C * N_POSES, 60, 60, 3) uint8 images of characters with these attribute values (C, L)."""
    images = np.empty((len(labels), N_POSES, SIZE, SIZE, 3), dtype=np.uint8)
    layers, every = _draw_layers(), np.arange(N_POSES)
    bar = tqdm(labels, "drawing characters", disable=not progress)
    for image, values in zip(images, bar, strict=True):
        image[:] = _paint(values, every, *layers)
    return images.reshape(-1, SIZE, SIZE, 3)


def draw_images(labels: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """(n, 60, 60, 3) uint8 images of characters (n, L) by their attribute values, in poses (n,)."""
    images = np.empty((len(labels), SIZE, SIZE, 3), dtype=np.uint8)
    characters, index = np.unique(labels, axis=0, return_inverse=True)
    for number, values in enumerate(characters):
        here = index.reshape(-1) == number
        images[here] = _paint(values, pose[here], *_stored_layers())
    return images


def _draw_layers() -> tuple[list[np.ndarray], np.ndarray]:
    """The canvases (values, N_POSES, 60, 60) of each part, and their order (N_POSES, parts)."""
    poses = [make_pose(ACTIONS[p["action"]], VIEWS[p["view"]], p["frame"]) for p in POSES]
    order = np.argsort(
        [[part.depth(pose) for part in PARTS] for pose in poses], axis=1, kind="stable"
    )
    layers = [
        np.zeros((len(ATTRIBUTES[part.attribute]), N_POSES, SIZE, SIZE), dtype=np.uint8)
        for part in PARTS
    ]
    for part, canvases in zip(PARTS, layers, strict=True):
        for value, p in np.ndindex(canvases.shape[:2]):
            part.draw(canvases[value, p], poses[p], value)
    return layers, order


_stored_layers = cache(_draw_layers)


def _paint(
    values: np.ndarray, pose: np.ndarray, layers: list[np.ndarray], order: np.ndarray
) -> np.ndarray:
    """(P, 60, 60, 3) uint8, the character with these attribute values (L,) in the poses (P,)."""
    value = dict(zip(ATTRIBUTES, values, strict=True))
    stack = np.stack(
        [
            canvases[value[part.attribute], pose]
            for part, canvases in zip(PARTS, layers, strict=True)
        ]
    )
    picture = np.zeros((len(pose), SIZE, SIZE), dtype=np.uint8)
    for part_index in order[pose].T:
        layer = stack[part_index, np.arange(len(pose))]
        np.copyto(picture, layer, where=layer > 0)
    palette = {
        "skin": MATERIALS["skin"][value["skin"]],
        "hair": MATERIALS["hair"][value["hair_colour"]],
    }
    colours = np.array(list({**MATERIALS, **palette}.values()))  # (materials, 3)
    tones = (colours[:, None] * TONES[:, None] // 100).clip(0, 255).reshape(-1, 3)
    return np.take(np.vstack([[[0, 0, 0]], tones]).astype(np.uint8), picture, axis=0, mode="clip")


def draw_sprites(progress: bool = True) -> ImageSet:
    """The drawn data set: 384 characters (192 identities with both weapons) in 178 poses."""
    labels = character_labels()
    images, numbers = draw_characters(labels, progress), np.arange(len(labels))
    return sprite_set("drawn", images, labels, tuple(ATTRIBUTES), numbers, FINGERPRINT)
