"""The page explorer.html: its networks against torch's, its rules, and the page in a browser."""

import base64
import gzip
import itertools
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import torch
from PIL import Image

from lib.config import make_hparams
from lib.data.images import to_float, to_uint8
from lib.data.splits import split_images
from lib.method.runs import new_run
from lib.report import animation, explorer, packing
from lib.system import paths
from tests.browser import chromium, open_tab

SCRIPT = paths.ROOT / "lib" / "report" / "explorer.js"
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="node is not on this machine")
needs_browser = pytest.mark.skipif(chromium() is None, reason="Chromium is not on this machine")
TINY = {"components": 33, "images_seen": 160, "swap_samples": 100}  # 33 is no multiple of 4
SETTINGS = [{}, {"normalize_s": False, "background_level": 0}]


def make_run(dataset, **settings):
    run = new_run("tiny", dataset, "smoke", 0, make_hparams("smoke", **TINY, **settings))
    train = torch.from_numpy(split_images(dataset, run.split, run.split_seed)["train"])
    if run.hp.architecture == "dense":
        run.model.components.fit(torch.from_numpy(dataset.images), train, seed=0)
    run.model.eval()
    return run


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "REPORTS", tmp_path_factory.mktemp("reports"))
        yield paths.REPORTS


@pytest.fixture(scope="module", params=SETTINGS, ids=["default", "plain"])
def run(few_sprites, reports, request):
    """A run of random weights, with its page."""
    return with_page(make_run(few_sprites, **request.param), few_sprites)


@pytest.fixture(scope="module")
def default_run(few_sprites, reports):
    return with_page(make_run(few_sprites), few_sprites)


def with_page(run, dataset):
    test = split_images(dataset, run.split, run.split_seed)["test"]
    order, ranges = np.arange(run.hp.z_dim)[::-1], np.linspace(1, 3, run.hp.z_dim)
    explorer.write_page(run, dataset, test, order, ranges)
    return run


def page_of(run):
    return run.folder / "explorer.html"


def unpacked(text):
    """What `packing.pack` packed."""
    content = gzip.decompress(base64.b64decode(text))
    start = 4 + int.from_bytes(content[:4], "little")
    header = json.loads(content[4:start])
    arrays = {
        entry["name"]: np.frombuffer(
            content, entry["kind"], int(np.prod(entry["shape"])), start + entry["start"]
        ).reshape(entry["shape"])
        for entry in header["arrays"]
    }
    return arrays, header["facts"]


def content_of(run):
    return unpacked(re.search(r'type="text/plain">([^<]+)<', page_of(run).read_text())[1])


def in_node(body, **values):
    """What `body` returns; it sees the functions of explorer.js as `lib`, and the `values`."""
    program = f"""
      const lib = require({json.dumps(str(SCRIPT))});
      const input = JSON.parse(require("fs").readFileSync(0, "utf8"));
      (async ({{ {", ".join(values)} }}) => {{ {body} }})(input)
        .then((found) => process.stdout.write(JSON.stringify(found)));
    """
    ended = subprocess.run(
        [NODE, "-e", program], input=json.dumps(values), capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def view(s_mix=0, z_mix=0, axes=None, own=None, **more):
    """A view of characters 3 and 4 in poses 5 and 6; `own` names a source that is a visitor's."""

    def code(name, mix, character, pose):
        sources = [{"character": character + k, "pose": pose + k} for k in (0, 1)]
        for k in (0, 1):
            if own == (name, k):
                sources[k]["own"] = [0]
        return {"sources": sources, "mix": mix}

    parts = {"s": code("s", s_mix, 3, 90), "z": code("z", z_mix, 7, 5)}
    return {**parts, "axes": axes, "isPrior": False, **more}


@needs_node
def test_its_codes_and_pictures_are_those_of_torch(run, few_sprites):
    some = np.random.default_rng(0).choice(len(few_sprites.images), 50, replace=False)
    images = few_sprites.images[some]
    found = in_node(
        """
        const text = /type="text.plain">([^<]+)</.exec(require("fs").readFileSync(page, "utf8"))[1];
        const { facts, arrays } = await lib.unpack(text);
        const model = new lib.Model(arrays, facts.background_level);
        return images.map((image) => {
          const { z, s } = model.encode(Uint8Array.from(image));
          return { z: [...z], s: [...s], image: [...model.decode(z, s)] };
        });
        """,
        page=str(page_of(run)),
        images=images.reshape(len(images), -1).tolist(),
    )
    run.model.load_state_dict(packing.weights_in_8_bits(run.model.state_dict())[1])
    with torch.no_grad():
        codes = run.model.encode(to_float(images))
        decoded = run.model.decode(codes.z_mu, codes.s).clamp(0, 1).permute(0, 2, 3, 1).flatten(1)
    for name, expected in (("z", codes.z_mu), ("s", codes.s)):
        np.testing.assert_allclose([each[name] for each in found], expected, atol=2e-4)
    differs = np.abs(np.array([each["image"] for each in found]) - decoded.numpy()) > 1e-3
    assert differs.mean() < 1e-4  # a pixel at the level of the background may be on either side
    assert decoded.std() > 0.02


def test_weights_in_8_bits_are_near_and_zero_rows_stay():
    weights = np.random.default_rng(0).standard_normal((50, 300)).astype(np.float32)
    weights[3] = 0
    codes, largest = packing.companded(weights)
    found = packing.restored(codes, largest)
    assert codes.dtype == np.int8 and codes.min() >= -127 and (found[3] == 0).all()
    noise = np.square(found - weights).mean() / np.square(weights).mean()
    linear = np.rint(127 * weights / np.maximum(largest, 1e-9)[:, None]) / 127 * largest[:, None]
    assert 10 * np.log10(noise) < -42
    assert np.square(found - weights).mean() < np.square(linear - weights).mean()


@needs_node
def test_the_page_restores_the_same_weights():
    weights = np.random.default_rng(0).standard_normal((9, 7)).astype(np.float32)
    codes, largest = packing.companded(weights)
    found = in_node(
        """
        const values = Int8Array.from(codes);
        return [...lib.restored({ values, shape: [9, 7] }, { values: largest }).values];
        """,
        codes=codes.flatten().tolist(),
        largest=largest.tolist(),
    )
    np.testing.assert_allclose(found, packing.restored(codes, largest).flatten(), rtol=1e-6)


@pytest.mark.parametrize("colours", [3, 256, 257])
def test_images_are_packed_without_loss(colours):
    table = np.random.default_rng(0).choice(2**24, colours, replace=False)
    pixels = np.resize(table, (4, 300))
    images = np.stack([pixels >> 16, pixels >> 8 & 255, pixels & 255], axis=-1).astype(np.uint8)
    found, numbers = packing.palette(images)
    np.testing.assert_array_equal(found[numbers], images)
    assert numbers.dtype == (np.uint8 if colours <= 256 else np.uint16)
    arrays, facts = unpacked(packing.pack({"odd": numbers[:1, :3], "images": numbers}, {"a": 1}))
    np.testing.assert_array_equal(arrays["images"], numbers)
    assert facts == {"a": 1}


def test_its_characters_are_of_the_test_split_and_of_different_identities(run, few_sprites):
    arrays, facts = content_of(run)
    images = arrays["colours"][arrays["images"]]
    all_images = few_sprites.images.reshape(-1, *images.shape[1:])
    characters = [np.flatnonzero((all_images == each).all((1, 2, 3, 4)))[0] for each in images]
    test = split_images(few_sprites, run.split, run.split_seed)["test"]
    assert set(characters) <= set(few_sprites.character[test])
    identities = few_sprites.character_identity[characters]
    assert len(set(identities)) == len(np.unique(few_sprites.identity[test])) == len(images)
    assert facts["texts"]["characters"] == str(len(images))


def test_it_says_what_8_bits_cost_and_where_the_sprites_come_from(run, few_sprites):
    facts = content_of(run)[1]
    assert abs(float(facts["texts"]["lost"])) < 0.5 < float(facts["texts"]["exact"])
    assert facts["texts"]["attribution"] == few_sprites.attribution.credit
    assert facts["portrait_hides_weapon"] is True
    for name in facts["texts"]:
        assert f'data-text="{name}"' in page_of(run).read_text()


def test_it_needs_nothing_from_a_network(run):
    text = re.sub(r'(type="text/plain">)[^<]+<', r"\1<", page_of(run).read_text())
    assert not re.findall(r"https?:|//\w+\.|@import|\bfetch\(|XMLHttp|{{", text)


@needs_node
@pytest.mark.parametrize(("s_mix", "z_mix"), [*itertools.product((0, 1), repeat=2)])
def test_both_mixes_at_an_end_have_a_truth(s_mix, z_mix):
    found = in_node("return lib.truth(view);", view=view(s_mix, z_mix))
    assert found == {"character": 3 + s_mix, "pose": 5 + z_mix}


@needs_node
@pytest.mark.parametrize(
    ("shown", "reason"),
    [
        (view(s_mix=0.01), "a mix of two characters"),
        (view(z_mix=0.99), "a mix of two poses"),
        (view(axes=[0.0]), "a number of z was moved"),
        (view(axes=[0.0], isPrior=True), "from the prior"),
        (view(own=("s", 0)), "does not hold your sprite"),
        (view(z_mix=1, own=("z", 1)), "does not hold your sprite"),
    ],
)
def test_all_else_has_none_and_says_why(shown, reason):
    found = in_node("return lib.truth(view);", view=shown)
    assert list(found) == ["reason"] and reason in found["reason"]


@needs_node
def test_a_mix_within_a_character_or_a_pose_says_so_and_one_of_equal_sources_is_none():
    shown = view(s_mix=0.5)
    shown["s"]["sources"][1]["character"] = 3
    assert (
        "two pictures of one character" in in_node("return lib.truth(view);", view=shown)["reason"]
    )
    shown["s"]["sources"][1]["pose"] = 90
    assert in_node("return lib.truth(view);", view=shown) == {"character": 3, "pose": 5}
    shown["z"]["sources"][1]["pose"], shown["z"]["mix"] = 5, 0.5
    assert "two pictures of one pose" in in_node("return lib.truth(view);", view=shown)["reason"]


@needs_node
def test_a_sprite_of_the_visitor_that_is_not_shown_does_not_count():
    assert "reason" not in in_node("return lib.truth(view);", view=view(own=("s", 1)))


@needs_node
@pytest.mark.parametrize(
    "shown",
    [view(), view(0.25, 1), view(1, 0.5, axes=[0.5, -2.25]), view(isPrior=True, axes=[1, 2])],
)
def test_the_address_holds_the_view(shown):
    text, found = in_node(
        """
        const text = lib.viewToText(view);
        const found = lib.textToView(text, 20, 178, 2);
        return [text, { ...found, axes: found.axes && [...found.axes] }];
        """,
        view=shown,
    )
    assert found == shown
    assert re.fullmatch(r"[\w.=&,-]+", text)


@needs_node
@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "s=0.0_1.1_0",
        "s=0.0_1.1_0&z=0.0_1.178_0",
        "s=20.0_1.1_0&z=0.0_1.1_0",
        "s=0.0_1.1_2&z=0.0_1.1_0",
        "s=0.0_1.1_0&z=0.0_1.1_0&axes=1",
        "s=0.0_1.1_0&z=0.0_1.1_0&axes=1,<b>",
    ],
)
def test_another_address_holds_none(text):
    assert in_node("return lib.textToView(text, 20, 178, 2);", text=text) is None


@needs_node
def test_its_normal_numbers_are_normal():
    found = np.array(in_node("return Array.from({ length: 20000 }, () => lib.normal());"))
    assert abs(found.mean()) < 0.05 and abs(found.std() - 1) < 0.05


@pytest.mark.parametrize(
    ("source", "architecture"), [("drawn", "published"), ("folder-made-up", "dense")]
)
def test_other_networks_and_images_have_no_page_and_say_so(
    few_sprites, reports, source, architecture
):
    run = make_run(few_sprites, architecture=architecture)
    run.name, run.source = "pageless", source
    test = split_images(few_sprites, "identity", 0)["test"]
    explorer.write_page(run, few_sprites, test, np.arange(8), np.ones(8))
    assert not page_of(run).exists()
    assert explorer.show_page(run, []).data == explorer.NO_PAGE


def test_the_frame_finds_the_page_from_both_folders(run):
    source, copy = ["", "run = 'tiny'"], ["", "run = 'drawn'", "# Parameters\nrun = 'tiny'"]
    assert explorer.show_page(run, source).src == "../reports/tiny/explorer.html"
    assert explorer.show_page(run, copy).src == "../explorer.html"


def test_the_animation_begins_and_ends_with_the_first_sources(reports):
    t_s, t_z = animation.mix_path()
    corners = list(zip(t_s[:: animation.STEPS], t_z[:: animation.STEPS], strict=True))
    assert corners == [(0, 0), (1, 0), (1, 1), (0, 1)]
    sources = np.zeros((2, 60, 60, 3), np.uint8)
    mixed = np.tile(np.arange(len(t_s), dtype=np.uint8)[:, None, None, None], (1, 60, 60, 3))
    animation.save_mix("animated", sources, sources, mixed)
    with Image.open(reports / "animated" / "figures" / "mix.webp") as picture:
        assert picture.n_frames == len(t_s)
        picture.seek(7)
        centre = picture.convert("RGB").getpixel((380, 150))
    assert centre == (7, 7, 7)


# ---- the page in a browser

PIXELS = """(() => {{
  const context = new OffscreenCanvas(60, 60).getContext("2d", {{ willReadFrequently: true }});
  context.drawImage(document.getElementById({}), 0, 0);
  return [...context.getImageData(0, 0, 60, 60).data].filter((_, i) => i % 4 !== 3);
}})()"""


RECORD_TEXT = """(() => {
  window.written = [];
  const { fillText } = CanvasRenderingContext2D.prototype;
  CanvasRenderingContext2D.prototype.fillText = function (text, ...more) {
    written.push(text);
    fillText.call(this, text, ...more);
  };
})()"""


class Visitor:
    """Uses the page with mouse and keys, and reads what it shows."""

    def __init__(self, tab):
        self.tab = tab

    def open(self, page, fragment="", **size):
        self.tab.open(f"{page.as_uri()}{fragment}", **size)
        self.settle()

    def settle(self):
        """Waits until the page has drawn all strips and written its address."""
        self.tab.wait("document.documentElement.dataset.strips === 'drawn'")

    def pixels(self, name="result"):
        return np.array(self.tab.evaluate(PIXELS.format(json.dumps(name)))).reshape(60, 60, 3)

    def text(self, name):
        return self.tab.evaluate(f"document.getElementById({json.dumps(name)}).textContent")

    def does(self, act):
        """Whether `act` changed the decoded picture."""
        before = self.pixels()
        frames = self.tab.evaluate("document.documentElement.dataset.frames")
        act()
        self.tab.wait(f"document.documentElement.dataset.frames !== {json.dumps(frames)}")
        return bool((self.pixels() != before).any())

    def keys(self, selector, *names):
        self.tab.evaluate(f"document.querySelector({json.dumps(selector)}).focus()")
        for name in names:
            self.tab.press(name)

    def says(self, part):
        self.tab.wait(f"document.getElementById('status').textContent.includes({json.dumps(part)})")


@pytest.fixture(scope="module")
def visitor(tmp_path_factory):
    with open_tab(tmp_path_factory.mktemp("browser")) as tab:
        yield Visitor(tab)


@needs_browser
def test_a_visitor_can_use_all_of_it(default_run, few_sprites, visitor, tmp_path):
    run = default_run
    tab, click = visitor.tab, visitor.tab.click
    visitor.open(page_of(run))

    # the first view: sources, decoded picture, truth
    arrays, facts = content_of(run)
    images = arrays["colours"][arrays["images"]]
    first_pose = facts["first_poses"][0]
    giver = min(3, len(images) - 1)
    np.testing.assert_array_equal(visitor.pixels("s-canvas-0"), images[0, facts["portrait"]])
    np.testing.assert_array_equal(visitor.pixels("z-canvas-0"), images[giver, first_pose])
    np.testing.assert_array_equal(visitor.pixels("truth"), images[0, first_pose])
    run.model.load_state_dict(packing.weights_in_8_bits(run.model.state_dict())[1])
    sources = to_float(images[[giver, 0], [first_pose, facts["portrait"]]])
    with torch.no_grad():
        expected = to_uint8(run.model.transfer(sources[:1], sources[1:]))[0]
    assert (np.abs(visitor.pixels().astype(int) - expected) > 1).mean() < 1e-3
    assert re.search(r"PSNR \d+\.\d dB", visitor.text("truth-text"))

    # mixes by key and mouse, sources, pickers
    assert visitor.does(lambda: visitor.keys("#s-mix", *["ArrowRight"] * 20))
    assert "mix of two characters" in visitor.text("truth-text")
    assert not visitor.pixels("truth").any()
    click("#s-source-1")  # is chosen, and the mix stays
    visitor.settle()
    assert tab.evaluate("document.getElementById('s-mix').value") == "0.2"
    assert visitor.does(lambda: click("#people label:first-child"))
    assert "PSNR" in visitor.text("truth-text")  # both sources are one
    assert visitor.does(lambda: click("#people label:nth-child(2)"))
    assert "mix of two characters" in visitor.text("truth-text")
    assert visitor.does(lambda: visitor.keys("#s-mix", "End"))
    assert "PSNR" in visitor.text("truth-text")
    assert visitor.does(lambda: click("#z-mix"))
    assert "mix of two poses" in visitor.text("truth-text")
    assert visitor.does(lambda: visitor.keys("#z-mix", "Home"))
    assert visitor.does(lambda: click("#people label:first-child"))
    assert visitor.does(lambda: visitor.keys("#action", "ArrowDown"))
    assert visitor.does(lambda: visitor.keys("#facing", "ArrowUp"))
    assert visitor.does(lambda: visitor.keys("#frame", "ArrowRight"))
    assert visitor.does(lambda: click("#s-other"))
    assert visitor.does(lambda: click("#z-other"))
    assert "PSNR" in visitor.text("truth-text")

    # axes of z, the prior, random sprites
    assert visitor.does(lambda: click("#axes .axis:nth-child(2) input", 0.9))
    assert "number of z was moved" in visitor.text("truth-text")
    assert visitor.does(lambda: visitor.keys("#axes .axis:nth-child(2) input", "ArrowLeft"))
    strip = visitor.pixels()
    assert visitor.does(lambda: click("#axes .axis:nth-child(1) canvas", 0.95))
    assert (visitor.pixels() != strip).any()
    assert visitor.does(lambda: click("#from-pose"))
    assert visitor.does(lambda: click("#prior"))
    assert "from the prior" in visitor.text("truth-text")
    visitor.settle()
    address, shown = tab.evaluate("location.href"), visitor.pixels()
    assert visitor.does(lambda: click("#random"))
    assert "PSNR" in visitor.text("truth-text")

    # the address brings a view back
    tab.open(address)
    visitor.settle()
    assert np.abs(visitor.pixels().astype(int) - shown).max() <= 1

    # playing
    click("#reset")
    before = visitor.text("frame-number")
    click("#play")
    tab.wait(f"document.getElementById('frame-number').textContent !== {json.dumps(before)}")
    click("#play")
    assert visitor.text("play") == "Play the action"
    visitor.keys("#frame", " ")
    assert visitor.text("play") == "Pause"
    visitor.keys("#frame", " ")
    assert visitor.does(lambda: visitor.keys("#frame", "R"))
    click("#reset")

    # sprites of the visitor
    for name, size, complaint in (
        ("wide.png", (61, 60), "wide.png has 61×60 pixels: a sprite has 60×60."),
        ("text.png", None, "text.png is no image that this browser can read."),
    ):
        path = tmp_path / name
        Image.new("RGB", size).save(path) if size else path.write_text("nothing")
        tab.choose_file("#s-file", path)
        visitor.says(complaint)
    sprite = tmp_path / "mine.png"
    Image.fromarray(few_sprites.images[0]).save(sprite)
    assert visitor.does(lambda: tab.choose_file("#s-file", sprite))
    np.testing.assert_array_equal(visitor.pixels("s-canvas-0"), few_sprites.images[0])
    assert "does not hold your sprite" in visitor.text("truth-text")
    assert visitor.does(lambda: tab.drop("#z-source-1", sprite))
    np.testing.assert_array_equal(visitor.pixels("z-canvas-1"), few_sprites.images[0])
    assert "your sprite" in visitor.text("z-note")
    tab.drop("h1", sprite)
    visitor.says("Drop the sprite on the sources")

    # what leaves the page
    click("#link")
    visitor.says("It cannot hold your own sprite.")
    tab.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    tab.evaluate(RECORD_TEXT)
    click("#save")
    visitor.says("The picture is saved")
    tab.until(lambda: (tmp_path / "sprite.png").exists())
    with Image.open(tmp_path / "sprite.png") as picture:
        assert picture.size == (1080, 560)
    assert {few_sprites.attribution.credit, "s: the character"} <= set(tab.evaluate("written"))
    visitor.open(page_of(run), "#s=none")
    visitor.says("The address held no view")
    assert tab.messages == []


@needs_browser
@pytest.mark.parametrize("width", [1280, 800, 375])
def test_nothing_is_wider_than_the_page_or_moves(default_run, visitor, width):
    visitor.open(page_of(default_run), width=width)
    tab = visitor.tab
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    height = "document.documentElement.scrollHeight"
    before = tab.evaluate(height)
    for button in ("#prior", "#random"):
        visitor.does(lambda button=button: visitor.tab.click(button))
        assert tab.evaluate(height) == before
    assert tab.messages == []
