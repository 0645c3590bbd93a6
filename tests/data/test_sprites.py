"""The archive's reader, the stored form, the download, the splits and the batches."""

import http.server
import os
import shutil
import socket
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from lib.data import drawn, images, sources, sprites
from lib.data.archive import ATTRIBUTES, LABELS, read_archive
from lib.data.image_set import UNKNOWN, distinct_images
from lib.data.splits import split_images
from lib.data.sprites import ANIMATIONS, N_POSES, POSES, sprite_set
from lib.data.stored import load_images
from lib.method import sampling
from lib.system import paths
from lib.system.errors import UserError
from tests.archives import BAD_FILES, Mirror, bad_tars, write_tar
from tests.conftest import save_sprites
from tests.image_sets import numbered, paired

REAL = Path(__file__).parents[3] / "shared" / "sprites"


@pytest.fixture(autouse=True)
def data_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "DATA", tmp_path / "data")
    monkeypatch.delenv("CYCLE_VAE_ARCHIVE", raising=False)
    return paths.DATA


@pytest.fixture
def folder(archive_slice, tmp_path):
    """A copy of the folder with characters 0 to 2, to be damaged."""
    copy = tmp_path / "archive" / "data" / "sprites"
    copy.mkdir(parents=True)
    for n in range(3):
        shutil.copy(archive_slice / "data" / "sprites" / f"sprites_{n}.mat", copy)
    return copy


def planted(images, labels=None, source="drawn", attributes=("body", "weapon"), size=60):
    """Sprites of made-up images (C, 178), one number for each image, and labels (C, L)."""
    labels = (
        np.array([[c // 2, c % 2] for c in range(len(images))], np.uint8)
        if labels is None
        else labels
    )
    numbers = np.arange(len(images))
    return sprite_set(source, numbered(images, size), labels, attributes, numbers, "planted")


def stack(real_images, characters):
    return np.concatenate([real_images[c] for c in characters])


# The published structure


def test_poses_are_the_published_animations_in_order():
    assert len(POSES) == N_POSES == 178
    assert len(ANIMATIONS) == 21
    assert ANIMATIONS[18] == ("shoot", "down", 13)
    pose = POSES[7 + 7 + 7 + 7 + 8]  # four views of spellcast, then thrust up
    assert (sprites.ACTIONS[pose["action"]], sprites.VIEWS[pose["view"]], pose["frame"]) == (
        "thrust",
        "left",
        0,
    )


def test_labels_are_the_published_ones():
    if not REAL.exists():
        pytest.skip("the real sprites are not on this machine (../shared/sprites)")
    published = np.loadtxt(REAL / "original" / "sprite_large_labels.txt", delimiter=",")
    assert np.array_equal(published, LABELS)
    assert len(ATTRIBUTES) == LABELS.shape[1]


def test_identity_joins_weapon_twins_and_nothing_else():
    labels = np.array([[1, 0], [0, 0], [1, 1], [0, 1]], np.uint8)
    images = paired(4)[[0, 2, 1, 3]]
    images[1, :44] = images[0, :44]  # a quarter of 178 is more
    data = planted(images, labels)
    assert data.character_identity.tolist() == [0, 1, 0, 1]
    assert (data.n_characters, data.n_identities) == (4, 2)
    assert (
        data.character[N_POSES] == 1
        and data.pose[N_POSES + 3] == 3
        and data.identity[2 * N_POSES] == 0
    )


def test_distinct_images_are_numbered_by_first_appearance():
    images = np.zeros((5, 60, 60, 3), np.uint8)
    images[[1, 3], 59, 59, 2] = 1
    images[4, 0, 0, 0] = 1
    assert distinct_images(images).tolist() == [0, 1, 0, 1, 2]


# Reading the archive


def test_reads_the_original_files_unchanged(real_images, capsys):
    data = read_archive(REAL / "original", progress=False, workers=1)
    assert np.array_equal(data.images, stack(real_images, [0, 1]))
    assert data.labels.tolist() == [[0] * 7, [0] * 6 + [1]]
    # frames that hide the weapon
    assert (
        data.distinct.reshape(2, N_POSES)[0] == data.distinct.reshape(2, N_POSES)[1]
    ).sum() == 93
    assert "670 of 672 characters missing (sprites_2.mat, " in capsys.readouterr().err


@pytest.mark.parametrize("where", ["data/sprites", "data", ".", "nips2015-analogy-data.tar.gz"])
def test_folder_and_tar_give_the_same(archive_slice, real_images, where):
    data = read_archive(archive_slice / where, progress=False, workers=2 if where == "." else 1)
    assert np.array_equal(data.images, stack(real_images, range(8)))
    assert np.array_equal(data.labels, LABELS[:8])
    assert data.names == tuple(f"no. {n}" for n in range(8))
    assert (data.source, data.n_characters, data.n_identities) == ("sprites", 8, 4)


def test_a_tar_in_any_order_and_compression_is_sorted_by_number(folder, tmp_path, real_images):
    with tarfile.open(tmp_path / "some.tar", "w") as tar:
        for n in (2, 0):
            tar.add(folder / f"sprites_{n}.mat", f"elsewhere/sprites_{n}.mat")
            # as macOS packs them: not a sprite
            tar.add(folder / f"sprites_{n}.mat", f"elsewhere/._sprites_{n}.mat")
    data = read_archive(tmp_path / "some.tar", progress=False, workers=1)
    assert data.names == ("no. 0", "no. 2")
    assert np.array_equal(data.images, stack(real_images, [0, 2]))


def test_missing_characters_and_strays_are_noted_and_the_rest_is_used(folder, real_images, capsys):
    (folder / "sprites_1.mat").rename(folder / "sprites_1 (copy).mat")
    shutil.copy(folder / "sprites_2.mat", folder / "sprites_672.mat")
    data = read_archive(folder, progress=False, workers=1)
    assert data.names == ("no. 0", "no. 2")
    assert np.array_equal(data.labels, LABELS[[0, 2]])
    assert np.array_equal(data.images, stack(real_images, [0, 2]))
    notes = capsys.readouterr().err.splitlines()
    assert "670 of 672 characters missing (sprites_1.mat, sprites_3.mat, " in notes[0]
    assert "2 files with a foreign name ignored" in notes[1] and "sprites_1 (copy).mat" in notes[1]


@pytest.mark.parametrize("fault", BAD_FILES)
@pytest.mark.filterwarnings("error")
def test_a_bad_file_is_named_in_one_sentence(folder, fault):
    damage, says = BAD_FILES[fault]
    damage(folder / "sprites_1.mat")
    with pytest.raises(UserError) as error:
        read_archive(folder, progress=False, workers=1)
    message = str(error.value)
    assert (
        message.startswith(f"{folder / 'sprites_1.mat'} ")
        and says in message
        and "\n" not in message
    )
    assert "extract it again from nips2015-analogy-data.tar.gz" in message


def test_a_bad_file_in_a_tar_is_named_by_a_reader_process(folder, tmp_path):
    (folder / "sprites_1.mat").write_bytes(b"")
    with tarfile.open(tmp_path / "bad.tar.gz", "w:gz") as tar:
        tar.add(folder, "data/sprites")
    with pytest.raises(UserError, match=r"data/sprites/sprites_1.mat is empty"):
        read_archive(tmp_path / "bad.tar.gz", progress=False, workers=2)


def test_bad_archives_are_named_in_one_sentence(folder, tmp_path):
    for fault, (path, says) in bad_tars(folder, tmp_path).items():
        with pytest.raises(UserError) as error:
            read_archive(path, progress=False, workers=1)
        assert says in str(error.value) and "\n" not in str(error.value), fault
        if path.suffix == ".gz":  # the tar itself is bad, not what it holds
            assert path.name in str(
                error.value
            ) and "download nips2015-analogy-data.tar.gz again" in str(error.value)


def test_a_tar_that_points_elsewhere_is_read_and_writes_nothing(folder, tmp_path):
    names = ("../../sprites_0.mat", "/etc/sprites_1.mat", "Größe 2/sprites_2.mat")
    good = [(name, (folder / Path(name).name).read_bytes()) for name in names]
    path = write_tar(
        tmp_path / "climbing up.tar.gz", [*good, ("sprites_3.mat", "../../sprites_0.mat")]
    )
    before = sorted(tmp_path.rglob("*"))
    assert read_archive(path, progress=False, workers=1).names == ("no. 0", "no. 1", "no. 2")
    assert sorted(tmp_path.rglob("*")) == before


def test_places_without_sprites_are_named(folder, tmp_path):
    with tarfile.open(tmp_path / "other.tar", "w") as tar:
        tar.add(Path(__file__), "readme.txt")
    (tmp_path / "nothing").mkdir()
    for path in (tmp_path / "other.tar", tmp_path / "nothing"):
        with pytest.raises(
            UserError, match=f"{path} holds no sprites_0.mat, .*give nips2015-analogy-data.tar.gz"
        ):
            read_archive(path, progress=False, workers=1)
    with pytest.raises(UserError, match=f"there is no {tmp_path / 'absent'}: give"):
        read_archive(tmp_path / "absent", progress=False)
    shutil.copytree(folder, folder.with_name("other"))
    with pytest.raises(
        UserError, match=r"holds sprites in .*other and in .*sprites: give one of them"
    ):
        read_archive(folder.parent, progress=False)


# Storing


def test_load_gives_what_was_saved(data_folder):
    data = planted(paired(6))
    assert save_sprites(data) == data_folder / "drawn.npz"
    loaded = load_images("drawn")
    for name in ("images", "labels", "distinct", "character", "pose", "cluster_of_character"):
        assert np.array_equal(getattr(loaded, name), getattr(data, name))
        assert getattr(loaded, name).dtype == getattr(data, name).dtype
    for name in ("source", "attributes", "names", "pose_names", "fingerprint", "attribution"):
        assert getattr(loaded, name) == getattr(data, name)
    assert loaded.names == tuple(f"no. {n}" for n in range(6))
    assert list(map(type, (loaded.source, *loaded.attributes, loaded.fingerprint))) == [str] * 4


def test_a_failing_write_leaves_what_was_there(data_folder, monkeypatch):
    save_sprites(planted(paired(6)))
    before = (data_folder / "drawn.npz").read_bytes()

    def full(file, array, **_):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", full)
    with pytest.raises(UserError, match=r"cannot write .*drawn.npz .*No space left"):
        save_sprites(planted(paired(4)))
    assert os.listdir(data_folder) == ["drawn.npz"]
    assert (data_folder / "drawn.npz").read_bytes() == before


def test_missing_and_broken_files_say_what_to_run(data_folder):
    with pytest.raises(
        UserError,
        match=r"there is no .*drawn.npz yet: run notebooks/01_create_sprites.ipynb or ./run_all.sh",
    ):
        load_images("drawn")
    path = save_sprites(planted(paired(6)))
    intact = bytearray(path.read_bytes())
    flipped = intact.copy()
    flipped[len(intact) // 2] ^= 255
    for broken in (b"", intact[:-100], b"x" * 1000, flipped):
        path.write_bytes(broken)
        with pytest.raises(
            UserError,
            match=r"drawn.npz is damaged or of another version: remove it, then run notebooks/01",
        ):
            load_images("drawn")
    path.rename(data_folder / "sprites.npz")
    with pytest.raises(UserError, match="choose one of sprites, drawn, digits, mnist, folder"):
        load_images("faces")


def test_another_source_under_a_name_is_refused(data_folder):
    save_sprites(planted(paired(6))).rename(data_folder / "sprites.npz")
    with pytest.raises(UserError, match="is damaged"):
        load_images("sprites")


def test_sprites_are_reused_until_the_archive_changes(folder, data_folder, monkeypatch):
    reads = []
    monkeypatch.setattr(
        sources, "read_archive", lambda *a: reads.append(a) or read_archive(a[0], False, 1)
    )
    first = sources.create_images("sprites", folder, progress=False)
    again = sources.create_images("sprites", folder, progress=False)
    assert (
        len(reads) == 1
        and np.array_equal(first.images, again.images)
        and first.fingerprint == again.fingerprint
    )
    os.utime(folder / "sprites_0.mat", ns=(1, 1))
    sources.create_images("sprites", folder, progress=False)
    assert len(reads) == 2
    (folder / "sprites_2.mat").unlink()
    assert sources.create_images("sprites", folder, progress=False).n_characters == 2
    (data_folder / "sprites.npz").write_bytes(b"broken")
    assert sources.create_images("sprites", folder, progress=False).n_characters == 2
    assert len(reads) == 4
    shutil.rmtree(folder)
    # the archive may be put away once it is read
    assert sources.create_images("sprites").n_characters == 2


def test_drawn_sprites_are_redrawn_when_their_fingerprint_changes(monkeypatch):
    draws = []
    monkeypatch.setattr(
        drawn, "draw_sprites", lambda progress: draws.append(1) or planted(paired(6))
    )
    monkeypatch.setattr(drawn, "FINGERPRINT", "drawn 1")
    sources.create_images("drawn")
    sources.create_images("drawn")
    assert len(draws) == 1
    monkeypatch.setattr(drawn, "FINGERPRINT", "drawn 2")
    sources.create_images("drawn")
    assert len(draws) == 2


def test_where_an_archive_is_looked_for(folder, data_folder, tmp_path, monkeypatch):
    assert sources.find_archive() is None and sources.default_source() == "drawn"
    with pytest.raises(UserError, match=r"give --archive PATH .*raw, or fetch it with --download"):
        sources.create_images("sprites")
    with pytest.raises(UserError, match="no source 'faces': choose one of sprites, drawn"):
        sources.create_images("faces")
    (data_folder / "raw").mkdir(parents=True)
    (data_folder / "raw" / "nips2015-analogy-data.tar.gz.part").write_bytes(b"half a download")
    assert sources.default_source() == "drawn"
    shutil.copytree(folder, data_folder / "raw" / "data" / "sprites")
    assert sources.find_archive() == data_folder / "raw" and sources.default_source() == "sprites"
    monkeypatch.setenv("CYCLE_VAE_ARCHIVE", "from/the/environment")
    assert sources.find_archive() == Path("from/the/environment")
    assert sources.find_archive("given") == Path("given")
    with pytest.raises(UserError, match="there is no given"):
        sources.create_images("sprites", "given")
    monkeypatch.delenv("CYCLE_VAE_ARCHIVE")
    shutil.rmtree(data_folder / "raw")
    save_sprites(planted(paired(6), source="sprites"))
    assert sources.default_source() == "sprites"


# Downloading


@pytest.fixture
def mirror():
    """Starts a mirror on the loopback device with the given settings and returns its handler and
    address.
    """
    servers = []

    def start(**settings):
        handler = type(
            "Handler",
            (Mirror,),
            {"content": b"\x1f\x8b" + os.urandom(500_000), "asked": [], **settings},
        )
        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=servers[-1].serve_forever, args=(0.01,), daemon=True).start()
        return handler, f"http://127.0.0.1:{servers[-1].server_port}/a.tar.gz"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def refused():
    """An address where nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{free.getsockname()[1]}/a.tar.gz"


def download(*mirrors):
    return sources.download_archive(mirrors, progress=False, timeout=5)


def test_download_from_the_second_mirror_and_only_once(mirror, refused, data_folder):
    handler, url = mirror()
    path = download(refused, url)
    assert (
        path == data_folder / "raw" / "nips2015-analogy-data.tar.gz"
        and path.read_bytes() == handler.content
    )
    assert download(refused) == path and os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_goes_on(mirror, data_folder, ranges):
    handler, url = mirror(cuts=1, ranges=ranges)
    with pytest.raises(
        UserError, match=r"broke off at 250,001 of 500,002 bytes.*try again to go on"
    ):
        download(url)
    assert os.listdir(data_folder / "raw") == ["nips2015-analogy-data.tar.gz.part"]
    assert download(url).read_bytes() == handler.content
    assert handler.asked == [None, "bytes=250001-"]


def test_a_part_that_is_too_long_is_given_up(mirror, data_folder):
    handler, url = mirror()
    (data_folder / "raw").mkdir(parents=True)
    (data_folder / "raw" / "nips2015-analogy-data.tar.gz.part").write_bytes(b"x" * 600_000)
    with pytest.raises(UserError, match="416"):
        download(url)
    assert download(url).read_bytes() == handler.content


def test_each_mirror_that_fails_is_named(mirror, refused, data_folder):
    _, gone = mirror(code=404)
    _, page = mirror(content=b"<html>moved</html>")
    with pytest.raises(UserError) as error:
        download(refused, gone, page, "http://")
    for part in (
        f"{refused} failed (",
        f"{gone} failed (HTTP Error 404",
        f"{page} failed (it sent something other",
        "put a copy into",
    ):
        assert part in str(error.value)
    assert os.listdir(data_folder / "raw") == []


# Splits


def assert_sound(data, split):
    identities = {name: set(data.identity[indices]) for name, indices in split.items()}
    contents = {
        name: {data.images[i].tobytes() for i in indices} for name, indices in split.items()
    }
    for a, b in (("train", "test"), ("train", "validation"), ("validation", "test")):
        assert not identities[a] & identities[b] and not contents[a] & contents[b]
    for indices in split.values():
        assert indices.dtype == np.int64 and (np.diff(indices) > 0).all()
    # test is complete
    assert len(split["test"]) == np.isin(data.identity, list(identities["test"])).sum()


def test_no_drawn_image_of_test_is_in_train(drawn_sprites):
    data = drawn_sprites
    split = split_images(data, "identity", 0)
    assert_sound(data, split)
    assert [len(set(data.identity[split[name]])) for name in split] == [144, 19, 29]


def test_no_real_image_of_test_is_in_train(real_images):
    characters = np.array(list(real_images))
    images = stack(real_images, characters)
    data = sprite_set("sprites", images, LABELS[characters], ATTRIBUTES, characters, "")
    for seed in range(3):
        split = split_images(data, "identity", seed)
        assert list(split) == ["train", "validation", "test"]
        assert [len(set(data.identity[indices])) for indices in split.values()] == [26, 4, 5]
        assert_sound(data, split)


def test_images_shared_by_identities_stay_in_test_alone():
    images = paired(40)
    images[:, 5] = 9999  # one picture that every character shows in pose 5
    data = planted(images)
    split = split_images(data, "identity", 1)
    assert_sound(data, split)
    assert {name: bool((data.pose[indices] == 5).any()) for name, indices in split.items()} == {
        "train": False,
        "validation": False,
        "test": True,
    }
    assert sum(map(len, split.values())) == 40 * N_POSES - 34  # 3 of 20 identities are in test
    assert np.array_equal(split["train"], split_images(data, "identity", 1)["train"])
    assert not np.array_equal(split["test"], split_images(data, "identity", 2)["test"])


def test_sizes_of_the_published_split():
    data = planted(paired(672), LABELS, "sprites", ATTRIBUTES, size=1)
    split = split_images(data, "identity", 0)
    assert {name: len(indices) // (2 * N_POSES) for name, indices in split.items()} == {
        "train": 252,
        "validation": 34,
        "test": 50,
    }


def test_too_few_identities_cannot_be_split():
    with pytest.raises(UserError, match="5 identities cannot be split"):
        split_images(planted(paired(10)), "identity", 0)
    assert all(
        len(indices) for indices in split_images(planted(paired(12)), "identity", 0).values()
    )


# Batches and conversions


def test_groups_show_one_character_in_distinct_valid_poses():
    data = planted(paired(30))
    indices = np.random.default_rng(0).permutation(30 * N_POSES)[: 15 * N_POSES]
    members = torch.from_numpy(data.members(np.sort(indices)))
    assert (
        members.shape == (30, N_POSES)
        and (members >= 0).sum() == len(indices)
        and np.array_equal(members.view(-1)[indices], indices)
    )
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        characters, groups = sampling.sample_groups(members, 4, 16, generator)
        assert groups.shape == (16, 4) and groups.dtype == torch.int64
        assert (groups // N_POSES == characters[:, None]).all()
        assert len(set(characters.tolist())) == 16
        assert all(len(set(row)) == 4 for row in groups.tolist())
        assert np.isin(groups, indices).all()


def test_groups_are_drawn_uniformly_and_by_the_generator_alone():
    every = torch.arange(5 * N_POSES).view(5, N_POSES)
    members = torch.full((5, N_POSES), UNKNOWN)
    members[:4, :6] = every[:4, :6]
    members[4, 0] = every[4, 0]  # a single image makes no pair
    counts = torch.zeros(5 * N_POSES)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3000):
        counts[sampling.sample_groups(members, 2, 2, generator)[1].flatten()] += 1
    assert counts.view(5, N_POSES)[4].sum() == 0 and counts.view(5, N_POSES)[:, 6:].sum() == 0
    # 12,000 images over 24: 500 each, with a deviation of 22
    assert (counts.view(5, N_POSES)[:4, :6] / 500 - 1).abs().max() < 0.2
    draws = [
        sampling.sample_groups(members, 2, 3, torch.Generator().manual_seed(seed))[1].tolist()
        for seed in (7, 7, 8)
    ]
    assert draws[0] == draws[1] != draws[2]


def test_few_characters_come_repeatedly_and_none_is_an_error():
    members = torch.arange(3 * N_POSES).view(3, N_POSES)
    members[2] = UNKNOWN
    characters, groups = sampling.sample_groups(members, 4, 50, torch.Generator().manual_seed(0))
    assert set(characters.tolist()) == set((groups // N_POSES).flatten().tolist()) == {0, 1}
    with pytest.raises(
        UserError, match="no character has 4 images: lower group_size, or give more images"
    ):
        none = torch.full_like(members, UNKNOWN)
        sampling.sample_groups(none, 4, 2, torch.Generator())


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_conversion_there_and_back(kind):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 60, 60, 3), dtype=np.uint8)
    floats = images.to_float(kind(pixels))
    assert floats.shape == (6, 3, 60, 60) and floats.dtype == torch.float32
    assert floats.is_contiguous(memory_format=torch.channels_last)
    assert floats[4, 2, 7, 9] == pixels[1, 1, 7, 9, 2] / np.float32(255)
    assert np.array_equal(images.to_uint8(floats), pixels.reshape(6, 60, 60, 3))
    assert images.to_float(kind(pixels[0, 0])).shape == (1, 3, 60, 60)


def test_to_uint8_clamps_and_rounds():
    values = torch.tensor([-0.1, 0.499 / 255, 0.501 / 255, 1.7])
    assert images.to_uint8(values.view(4, 1, 1, 1).expand(4, 3, 60, 60))[:, 0, 0, 0].tolist() == [
        0,
        0,
        1,
        255,
    ]


def test_a_split_by_outfit_holds_out_identities_in_all_skins(drawn_sprites):
    data = drawn_sprites
    split = split_images(data, "outfit", 0)
    assert_sound(data, split)
    outfits = {name: set(data.cluster[index]) for name, index in split.items()}
    assert [len(outfits[name]) for name in split] == [48, 6, 10]
    assert not outfits["train"] & outfits["test"] and not outfits["train"] & outfits["validation"]
    skins = data.labels[np.unique(data.character[split["test"]]), 0]
    assert (np.bincount(skins) == 20).all()
    with pytest.raises(UserError, match="no split 'pose': choose one of identity, outfit, image"):
        split_images(data, "pose", 0)
