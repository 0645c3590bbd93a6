"""What holds for any input: drawn by hypothesis, seeded, so that a failure comes again."""

import functools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lib.config import HParams, make_hparams
from lib.data.archive import read_archive
from lib.data.splits import split_images
from lib.data.sprites import N_POSES, sprite_set
from lib.system.errors import UserError
from lib.system.paths import run_dir
from tests.archives import write_archive
from tests.image_sets import numbered

repeatable = functools.partial(
    settings, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck)
)
names = st.sampled_from(list(HParams.__dataclass_fields__))
values = st.one_of(st.text(max_size=12), st.integers(), st.floats(), st.booleans(), st.none())


@repeatable(max_examples=300)
@given(overrides=st.dictionaries(st.one_of(names, st.text(max_size=12)), values, max_size=4))
def test_options_are_taken_or_refused_in_one_sentence(overrides):
    try:
        hp = make_hparams("fast", **overrides)
    except UserError as error:
        assert str(error).startswith(("hyper-parameter ", "there is no hyper-parameter "))
    else:
        assert (
            make_hparams("fast", **{name: getattr(hp, name) for name in overrides}) == hp
            and hp.steps >= 1
        )


@repeatable(max_examples=300)
@given(name=st.text(max_size=20))
def test_a_run_lies_in_the_reports_or_is_refused(name):
    try:
        folder = run_dir(name)
    except UserError as error:
        assert "cannot name a run" in str(error)
    else:
        assert (
            folder.parent == run_dir("a").parent
            and folder.name == name
            and not name.startswith(".")
        )


@repeatable(max_examples=60)
@given(data=st.data(), characters=st.integers(12, 30), seed=st.integers(0, 2**32 - 1))
def test_splits_share_no_identity_and_no_image(data, characters, seed):
    identity = np.sort(
        data.draw(st.lists(st.integers(0, 9), min_size=characters, max_size=characters))
    )
    weapon, rng = np.arange(characters), np.random.default_rng(seed)
    # an identity has its own image of each pose, but any of so many in this share of them
    many, share = data.draw(st.integers(1, characters * N_POSES)), data.draw(st.floats(0, 1))
    own = identity[:, None] * N_POSES + np.arange(N_POSES)
    any_image = 10 * N_POSES + rng.integers(many, size=own.shape)
    pixels = numbered(np.where(rng.random(own.shape) < share, any_image, own), size=1)
    labels = np.stack([identity, weapon], axis=1).astype(np.uint8)
    dataset = sprite_set("drawn", pixels, labels, ("body", "weapon"), weapon, "random")
    if dataset.n_identities < 6:
        with pytest.raises(UserError, match="identities cannot be split"):
            split_images(dataset, "identity", seed)
        return
    parts = split_images(dataset, "identity", seed)
    again = split_images(dataset, "identity", seed)
    assert list(parts) == ["train", "validation", "test"] and all(
        np.array_equal(parts[name], again[name]) for name in parts
    )
    for groups in (dataset.identity, dataset.distinct):
        sets = [set(groups[index]) for index in parts.values()]
        assert not (sets[0] & sets[1] or sets[0] & sets[2] or sets[1] & sets[2])
    assert len(parts["test"]) >= 2 * N_POSES


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A folder with two good characters, and their images."""
    folder = write_archive(tmp_path_factory.mktemp("archive"), 2)
    return folder, read_archive(folder, progress=False, workers=1)


@repeatable(max_examples=80)
@given(data=st.data())
def test_a_damaged_file_gives_its_images_or_one_sentence(published, data, tmp_path_factory):
    folder, good = published
    path = folder / "sprites_1.mat"
    intact = path.read_bytes()
    content = bytearray(intact)
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.one_of(st.integers(0, 4096), st.integers(0, len(intact) - 1)))
        piece = data.draw(st.binary(min_size=1, max_size=64))
        content[start : start + len(piece)] = piece
    path.write_bytes(
        content[: data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))]
    )
    try:
        read = read_archive(folder, progress=False, workers=1)
    except UserError as error:
        assert "sprites_1.mat" in str(error) and "\n" not in str(error)
    else:
        # HDF5 gives 0 for a piece whose place in the file is damaged: only the checksum of all
        # images tells (PUBLISHED_SHA256)
        assert read.images.shape == good.images.shape and np.array_equal(read.labels, good.labels)
    finally:
        path.write_bytes(intact)
