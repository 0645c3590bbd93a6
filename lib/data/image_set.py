"""Images in groups, and what is known about them: the data model of every source.

N images of C characters. A *character* is what one code s stands for: a sprite's character, a
digit, a person. It may have any number of images. A *pose* is what its images differ in; equal
numbers mean the same pose of different characters.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

UNKNOWN = -1  # the number of a pose that is not known, and the index of an image that is not there
SHARED = 0.25  # of its images; characters that share more are twins
ARRAYS = ("images", "character", "pose", "labels", "cluster_of_character", "distinct")


@dataclass(frozen=True)
class Attribution:
    """What the images of a source are called, and whose they are."""

    title: str  # "2D Sprites"
    credit: str  # a sentence: who made the images, under which licence
    character: str = "identity"  # what one s stands for
    image: str = "image"
    cluster: str = "identity"  # similar identities, which intervals keep together


class Factor(NamedTuple):
    """A property of poses, such as the action."""

    of_pose: np.ndarray  # (P,) int64, the value of each pose, from 0
    values: tuple[str, ...]  # their names


@dataclass(frozen=True, eq=False)
class ImageSet:
    """A data set. Images of one character lie in a row, in the order of their poses.

    An identity joins twins: characters that share many images to the bit, such as those that
    differ in a weapon that most images hide.
    """

    source: str
    images: np.ndarray  # (N, H, H, 3) uint8
    character: np.ndarray  # (N,) int64, rising from 0 to C-1
    names: tuple[str, ...]  # (C,) of the characters
    distinct: np.ndarray  # (N,) int32 from 0 to D-1; equal images have equal numbers
    fingerprint: str  # changes with the images, and with nothing else
    attribution: Attribution
    pose: np.ndarray  # (N,) int64 from 0 to P-1, or UNKNOWN
    pose_names: tuple[str, ...] = ()  # (P,)
    factors: Mapping[str, Factor] = field(default_factory=dict)  # of poses
    labels: np.ndarray | None = None  # (C, L)
    attributes: tuple[str, ...] = ()  # L names of the columns of `labels`, whose values are numbers
    cluster_of_character: np.ndarray | None = None  # (C,) int64 from 0; None: their identities
    background: str = "black"  # on which images with alpha, and narrow ones, were put

    def __post_init__(self) -> None:
        if self.labels is None:
            object.__setattr__(self, "labels", np.zeros((self.n_characters, 0), np.int64))

    @property
    def size(self) -> int:
        """Pixels of each side."""
        return self.images.shape[1]

    @property
    def n_characters(self) -> int:
        return len(self.names)

    @property
    def n_poses(self) -> int:
        return len(self.pose_names)

    @property
    def n_identities(self) -> int:
        return int(self.character_identity.max()) + 1

    @cached_property
    def first_image(self) -> np.ndarray:
        """(C + 1,) the index of the first image of each character, and N."""
        return np.searchsorted(self.character, np.arange(self.n_characters + 1))

    @cached_property
    def character_identity(self) -> np.ndarray:
        """(C,) int64: 0..n_identities-1, in the order of the characters."""
        return twins(self.character, self.distinct)

    @property
    def character_cluster(self) -> np.ndarray:
        """(C,) int64 from 0: equal for similar identities."""
        known = self.cluster_of_character
        return self.character_identity if known is None else known

    @cached_property
    def identity(self) -> np.ndarray:
        """(N,) int64: the identity that each image shows."""
        return self.character_identity[self.character]

    @cached_property
    def cluster(self) -> np.ndarray:
        """(N,) int64: the cluster that each image belongs to."""
        return self.character_cluster[self.character]

    @cached_property
    def identity_attributes(self) -> np.ndarray:
        """(L,) bool: the attributes that are the same in all twins."""
        return _constant_within(self.labels, self.character_identity)

    @property
    def hidden_attributes(self) -> list[str]:
        """The attributes that differ between twins: many images do not show them."""
        kept = self.identity_attributes
        return [name for name, keep in zip(self.attributes, kept, strict=True) if not keep]

    @cached_property
    def cluster_attributes(self) -> np.ndarray:
        """(L,) bool: the attributes that are the same in all characters of a cluster."""
        return _constant_within(self.labels, self.character_cluster)

    @cached_property
    def has_truth(self) -> bool:
        """Whether characters share poses, so that the true image of a swap can be known."""
        known = self.pose[self.pose != UNKNOWN]
        return len(known) > 0 and bool(np.bincount(known).max() > 1)

    @cached_property
    def _image_at(self) -> np.ndarray:
        table = np.full((self.n_characters, max(1, self.n_poses)), UNKNOWN)
        known = self.pose != UNKNOWN
        table[self.character[known], self.pose[known]] = np.flatnonzero(known)
        return table

    def image_at(self, character: np.ndarray, pose: np.ndarray) -> np.ndarray:
        """The index of the image of a character in a pose, UNKNOWN where there is none."""
        return np.where(np.asarray(pose) == UNKNOWN, UNKNOWN, self._image_at[character, pose])

    def images_of(self, character: int) -> slice:
        """The images of a character."""
        return slice(*self.first_image[[character, character + 1]])

    def random_image(self, character: int, rng: np.random.Generator) -> int:
        """The index of an image of a character."""
        images = self.images_of(character)
        return int(rng.integers(images.start, images.stop))

    def of_known_pose(self, indices: np.ndarray) -> np.ndarray:
        """Those of the image `indices` whose pose is known."""
        return indices[self.pose[indices] != UNKNOWN]

    def members(self, indices: np.ndarray) -> np.ndarray:
        """(C, M) int64: those of the image `indices` that show each character, else UNKNOWN.

        M is the number of images of the largest character; each image keeps its place.
        """
        chosen = np.zeros(len(self.images), dtype=bool)
        chosen[indices] = True
        table = np.full((self.n_characters, np.diff(self.first_image).max()), UNKNOWN)
        index = np.flatnonzero(chosen)
        table[self.character[index], index - self.first_image[self.character[index]]] = index
        return table


def twins(character: np.ndarray, distinct: np.ndarray) -> np.ndarray:
    """(C,) int64: equal for characters that share more than SHARED of the images of one of them.

    Shapes: `character` and `distinct` (N,), the numbers of the character and of the image.
    """
    shape = int(character.max()) + 1, int(distinct.max()) + 1
    shows = coo_matrix((np.ones(len(character)), (character, distinct)), shape=shape).tocsr()
    shows.data[:] = 1  # a character may have an image twice
    images = np.asarray(shows.sum(axis=1)).ravel()
    common = (shows @ shows.T).tocoo()
    fewer = np.minimum(images[common.row], images[common.col])
    kept = common.data > SHARED * fewer
    pairs = common.data[kept], (common.row[kept], common.col[kept])
    found = connected_components(coo_matrix(pairs, common.shape), directed=False)[1]
    first = np.unique(found, return_index=True)[1]
    order = np.empty(len(first), np.int64)
    order[np.argsort(first)] = np.arange(len(first))
    return order[found]


def _constant_within(labels: np.ndarray, group: np.ndarray) -> np.ndarray:
    """(L,) bool: the columns of `labels` (C, L) that have one value in each group (C,)."""
    first = np.unique(group, return_index=True)[1]
    return (labels == labels[first][group]).all(axis=0)


def distinct_images(images: np.ndarray) -> np.ndarray:
    """(N,) int32: equal numbers for images (N, ...) that are equal to the bit, from 0."""
    seen: dict[bytes, int] = {}
    rows = np.ascontiguousarray(images).reshape(len(images), -1)
    digests = (hashlib.sha256(row).digest() for row in rows)
    return np.array([seen.setdefault(digest, len(seen)) for digest in digests], dtype=np.int32)


def bayes_ceiling(distinct: np.ndarray, target: np.ndarray) -> float:
    """The best accuracy of any classifier of one image: equal images may have different targets.

    Of equal images, a classifier can name the most frequent target at best. `distinct` may also be
    all that is known of an image, such as whether it hides an attribute.

    Shapes: `distinct` and `target` (N,).
    """
    pairs, counts = np.unique(np.stack([distinct, target]), axis=1, return_counts=True)
    best = np.zeros(distinct.max() + 1)
    np.maximum.at(best, pairs[0], counts)
    return float(best.sum() / len(target))


def to_arrays(dataset: ImageSet) -> dict[str, np.ndarray]:
    """What `data/<source>.npz` keeps."""
    facts = {
        "source": dataset.source,
        "names": dataset.names,
        "fingerprint": dataset.fingerprint,
        "attribution": asdict(dataset.attribution),
        "pose_names": dataset.pose_names,
        "factors": {n: [f.of_pose.tolist(), f.values] for n, f in dataset.factors.items()},
        "attributes": dataset.attributes,
        "background": dataset.background,
    }
    arrays = {name: getattr(dataset, name) for name in ARRAYS}
    kept = {name: array for name, array in arrays.items() if array is not None}
    return {**kept, "facts": np.array(json.dumps(facts))}


def from_arrays(arrays: Mapping[str, np.ndarray]) -> ImageSet:
    """Raises KeyError, TypeError or ValueError where these arrays are no image set."""
    facts = json.loads(str(arrays["facts"]))
    facts["attribution"] = Attribution(**facts["attribution"])
    facts["factors"] = {
        name: Factor(np.array(of_pose), tuple(values))
        for name, (of_pose, values) in facts["factors"].items()
    }
    facts |= {name: tuple(facts[name]) for name in ("names", "pose_names", "attributes")}
    dataset = ImageSet(**facts, **{name: arrays[name] for name in ARRAYS if name in arrays})
    n = len(dataset.character)
    if dataset.images.shape != (n, dataset.size, dataset.size, 3) or len(dataset.pose) != n:
        raise ValueError(f"images of shape {dataset.images.shape}")
    if dataset.n_characters != int(dataset.character.max()) + 1:
        raise ValueError(f"{dataset.n_characters} names")
    return dataset
