"use strict";
// The script of explorer.html. Its first part computes and knows nothing of the page, so that tests
// can run it in node; its second part, from `start` on, is the page.
//
// Images are (60, 60, 3) in this order, as bytes or as numbers in [0, 1]. A source is {character,
// pose, own}: an image of the data, or with `own`, bytes of the visitor, which then count instead.

const KINDS = {
  int8: Int8Array, uint8: Uint8Array, uint16: Uint16Array, int32: Int32Array, float32: Float32Array,
};
const POWER = 1.5; // of the companding; see `companded` in lib/report/packing.py
const EPSILON = 1e-5; // of torch's LayerNorm
const STEPS = 7; // pictures in the strip of an axis

/** {facts, arrays} from the base64 text that lib/report/packing.py made. */
async function unpack(text) {
  const binary = atob(text.trim());
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const buffer = await new Response(stream).arrayBuffer();
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const arrays = {};
  for (const { name, kind, shape, start } of header.arrays) {
    const size = shape.reduce((a, b) => a * b, 1);
    arrays[name] = { values: new KINDS[kind](buffer, 4 + length + start, size), shape };
  }
  return { facts: header.facts, arrays };
}

/** The weights (R, C) of int8 codes (R, C) and the largest weight of each row. */
function restored(codes, maxima) {
  const [rows, columns] = codes.shape;
  const levels = new Float32Array(256);
  for (let c = -127; c < 128; c++) levels[c & 255] = Math.sign(c) * (Math.abs(c) / 127) ** POWER;
  const weights = new Float32Array(rows * columns);
  for (let r = 0, i = 0; r < rows; r++) {
    for (const end = i + columns; i < end; i++) {
      weights[i] = levels[codes.values[i] & 255] * maxima.values[r];
    }
  }
  return { values: weights, shape: codes.shape };
}

/** W x + b; x has C numbers. Four sums and a view of each row are twice as fast as one sum. */
function linear({ values, shape: [rows, columns] }, bias, x) {
  const y = new Float32Array(rows);
  for (let r = 0; r < rows; r++) {
    const w = values.subarray(r * columns, (r + 1) * columns);
    let a = 0, b = 0, c = 0, d = 0, k = 0; // not as [0, 0, 0, 0], which costs four times as much
    for (; k + 3 < columns; k += 4) {
      a += w[k] * x[k];
      b += w[k + 1] * x[k + 1];
      c += w[k + 2] * x[k + 2];
      d += w[k + 3] * x[k + 3];
    }
    for (; k < columns; k++) a += w[k] * x[k];
    y[r] = a + b + c + d + bias[r];
  }
  return y;
}

/** W' x; x has R numbers. */
function transposed({ values, shape: [rows, columns] }, x) {
  const y = new Float32Array(columns);
  for (let r = 0; r < rows; r++) {
    const w = values.subarray(r * columns, (r + 1) * columns);
    const value = x[r];
    for (let k = 0; k < columns; k++) y[k] += value * w[k];
  }
  return y;
}

/** The dense networks, as lib/method/networks.py has them; parts have the names of torch's. */
class Model {
  constructor(arrays, backgroundLevel) {
    this.backgroundLevel = backgroundLevel;
    this.parts = {};
    for (const name in arrays) {
      const maxima = arrays[`${name}.maxima`];
      this.parts[name] = maxima ? restored(arrays[name], maxima) : arrays[name];
    }
  }

  numbers(name) {
    return this.parts[name].values;
  }

  linear(name, x) {
    return linear(this.parts[`${name}.weight`], this.numbers(`${name}.bias`), x);
  }

  norm(name, x) {
    const gain = this.numbers(`${name}.weight`);
    const bias = this.numbers(`${name}.bias`);
    const mean = x.reduce((sum, value) => sum + value, 0) / x.length;
    const variance = x.reduce((sum, value) => sum + (value - mean) ** 2, 0) / x.length;
    const scale = 1 / Math.sqrt(variance + EPSILON);
    return x.map((value, k) => (value - mean) * scale * gain[k] + bias[k]);
  }

  dense(name, x) {
    return this.norm(`${name}.1`, this.linear(`${name}.0`, x)).map((value) => Math.max(value, 0));
  }

  residual(name, x) {
    const change = this.dense(`${name}.change`, x);
    return x.map((value, k) => value + change[k]);
  }

  /** {z, s} of bytes (60, 60, 3): the mean of z, and s. */
  encode(bytes) {
    const lit = this.numbers("components.lit");
    const x = this.numbers("components.mean").map((mean, l) => bytes[lit[l]] / 255 - mean);
    const factors = this.numbers("encoder.features.0.factors");
    let h = transposed(this.parts["components.axes"], x).map((value, k) => value * factors[k]);
    h = this.residual("encoder.features.2", this.dense("encoder.features.1", h));
    const s = this.linear("encoder.s_head", h);
    const isNormal = "encoder.s_norm.weight" in this.parts;
    const z = this.linear("encoder.z_mu_head", h);
    return { z, s: isNormal ? this.norm("encoder.s_norm", s) : s };
  }

  /** The image (60, 60, 3) in [0, 1] of both codes; dark pixels are background, so 0. */
  decode(z, s) {
    const hz = this.dense("decoder.z_features", z);
    const hs = this.dense("decoder.s_features", s);
    const [gainZ, gainS] = [this.linear("decoder.z_gain", hs), this.linear("decoder.s_gain", hz)];
    let h = new Float32Array(hz.length + hs.length);
    h.set(hz.map((value, k) => value * (1 + gainZ[k])));
    h.set(hs.map((value, k) => value * (1 + gainS[k])), hz.length);
    h = this.residual("decoder.image.1", this.dense("decoder.image.0", h));
    h = this.norm("decoder.image.3", this.residual("decoder.image.2", h));
    const factors = this.numbers("decoder.image.5.factors");
    h = this.linear("decoder.image.4", h).map((value, k) => value * factors[k]);
    const values = linear(this.parts["components.axes"], this.numbers("components.mean"), h);
    const image = new Float32Array(60 * 60 * 3);
    this.numbers("components.lit").forEach((place, l) => (image[place] = values[l]));
    for (let i = 0; i < image.length; i += 3) {
      const isDark = Math.max(image[i], image[i + 1], image[i + 2]) < this.backgroundLevel;
      for (let k = i; k < i + 3; k++) image[k] = isDark ? 0 : Math.min(Math.max(image[k], 0), 1);
    }
    return image;
  }
}

/** a + t (b - a), number by number. */
function mixed(a, b, t) {
  return a.map((value, k) => value + t * (b[k] - value));
}

/** The PSNR in dB of an image in [0, 1] against bytes. */
function psnr(image, bytes) {
  const squared = image.reduce((sum, value, k) => sum + (value - bytes[k] / 255) ** 2, 0);
  return -10 * Math.log10(squared / image.length);
}

/** {character, pose} of the true image of a view, or {reason} why there is none. */
function truth({ s, z, axes, isPrior }) {
  if (isPrior) return { reason: "this z is from the prior, and not every z is a pose" };
  if (axes) return { reason: "a number of z was moved" };
  for (const [code, key, kind] of [[s, "character", "characters"], [z, "pose", "poses"]]) {
    const [a, b] = code.sources;
    const isOne = !a.own && !b.own && a.character === b.character && a.pose === b.pose;
    if (code.mix === 0 || code.mix === 1 || isOne) continue;
    if (a.own || b.own || a[key] !== b[key]) return { reason: `this is a mix of two ${kind}` };
    return { reason: `this is a mix of two pictures of one ${key}` };
  }
  const [who, how] = [s.sources[Math.round(s.mix)], z.sources[Math.round(z.mix)]];
  if (who.own || how.own) return { reason: "the data does not hold your sprite" };
  return { character: who.character, pose: how.pose };
}

/** A view as text for the address. It cannot hold sprites of the visitor. */
function viewToText({ s, z, axes, isPrior }) {
  const text = ({ sources, mix }) =>
    [...sources.map(({ character, pose }) => `${character}.${pose}`), +mix.toFixed(2)].join("_");
  const view = `s=${text(s)}&z=${text(z)}`;
  if (!axes) return view;
  return `${view}&${isPrior ? "prior" : "axes"}=${[...axes].map((value) => +value.toFixed(4))}`;
}

/** The view of such a text; null where it is none. */
function textToView(text, characters, poses, size) {
  const parts = new URLSearchParams(text);
  const read = (value) => {
    const found = /^(\d+)\.(\d+)_(\d+)\.(\d+)_(0|1|0\.\d+)$/.exec(value ?? "");
    if (!found) return null;
    const [a, p, b, q, mix] = found.slice(1).map(Number);
    const isKnown = Math.max(a, b) < characters && Math.max(p, q) < poses;
    const sources = [{ character: a, pose: p }, { character: b, pose: q }];
    return isKnown ? { sources, mix } : null;
  };
  const [s, z] = [read(parts.get("s")), read(parts.get("z"))];
  const given = parts.get("prior") ?? parts.get("axes");
  const axes = given === null ? null : Float32Array.from(given.split(","), Number);
  if (!s || !z || (axes && !(axes.length === size && axes.every(Number.isFinite)))) return null;
  return { s, z, axes, isPrior: parts.has("prior") };
}

/** A number from N(0, 1) (Box and Muller). */
function normal(random = Math.random) {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

/** The page: reads the data in it, then draws whatever the visitor asks for. */
async function start() {
  const find = (id) => document.getElementById(id);
  if (typeof DecompressionStream === "undefined") {
    const sentence = "This browser is too old for this page: use one from 2023 or later.";
    find("status").textContent = sentence;
    return;
  }
  const { facts, arrays } = await unpack(find("data").textContent);
  find("data").remove();
  new Page(facts, arrays, find).begin();
}

class Page {
  constructor(facts, arrays, find) {
    Object.assign(this, { facts, arrays, find });
    this.model = new Model(arrays, facts.background_level);
    this.characters = arrays.images.shape[0];
    this.codes = new Map(); // of images of the data
    this.stale = 0; // raised by every change, so that strips of an older view stop
    this.strips = facts.order.map((axis) => this.makeAxis(axis));
  }

  begin() {
    this.showFacts();
    this.makePickers();
    this.listen();
    this.readAddress();
    document.documentElement.dataset.ready = "true";
  }

  // ---- what is shown: sources, codes, images

  standardView() {
    const last = this.characters - 1;
    const source = (character, pose) => ({ character: Math.min(character, last), pose });
    const { portrait, first_poses: poses } = this.facts;
    return {
      s: { sources: [source(0, portrait), source(4, portrait)], mix: 0 },
      z: { sources: [source(3, poses[0]), source(2, poses[1])], mix: 0 },
      axes: null,
      isPrior: false,
    };
  }

  /** Bytes (60, 60, 3) of an image of the data. */
  trueImage(character, pose) {
    const { images, colours } = this.arrays;
    const pixels = 60 * 60;
    const start = (character * images.shape[1] + pose) * pixels;
    const bytes = new Uint8Array(3 * pixels);
    for (let i = 0; i < pixels; i++) {
      const colour = 3 * images.values[start + i];
      for (let k = 0; k < 3; k++) bytes[3 * i + k] = colours.values[colour + k];
    }
    return bytes;
  }

  sourceImage({ own, character, pose }) {
    return own ?? this.trueImage(character, pose);
  }

  encode(source) {
    const key = source.own ?? source.character * this.facts.poses.length + source.pose;
    if (!this.codes.has(key)) this.codes.set(key, this.model.encode(this.sourceImage(source)));
    return this.codes.get(key);
  }

  /** {z, s} of the view. */
  viewCodes() {
    const { s, z, axes } = this.view;
    const [a, b] = s.sources.map((source) => this.encode(source).s);
    const [c, d] = z.sources.map((source) => this.encode(source).z);
    return { s: mixed(a, b, s.mix), z: axes ?? mixed(c, d, z.mix) };
  }

  /** The source of a code that the pickers change. */
  chosenSource(code) {
    return this.view[code].sources[this.chosen[code]];
  }

  setView(view) {
    this.view = view;
    this.chosen = { s: Math.round(view.s.mix), z: Math.round(view.z.mix) };
    this.changed();
  }

  /** At an end of a mix, only the source there is seen, so the pickers change that one. */
  setMix(code, mix) {
    this.view[code].mix = mix;
    if (mix === 0 || mix === 1) this.chosen[code] = mix;
    if (code === "z") this.followPose();
    this.changed();
  }

  /** In between, a mix stays as it is while another source is chosen. */
  choose(code, k) {
    const { mix } = this.view[code];
    this.chosen[code] = k;
    this.setMix(code, mix === 0 || mix === 1 ? k : mix);
  }

  // ---- drawing

  /** Draws the view in the next frame; several changes before it are drawn once. */
  changed() {
    this.stale++;
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }

  draw() {
    const { find, view } = this;
    const { s, z } = this.viewCodes();
    this.image = this.model.decode(z, s);
    for (const id of ["result", "live"]) paint(find(id), this.image, 255);
    for (const code of ["s", "z"]) this.drawSources(code);
    for (const { strip } of this.strips) strip.classList.add("old");
    this.drawTruth();
    this.drawAxes(z);
    document.body.classList.toggle("by-hand", Boolean(view.axes));
    find("from-pose").disabled = !view.axes;
    clearTimeout(this.pause);
    this.pause = setTimeout(() => this.drawStrips(z, s), 250);
    document.documentElement.dataset.strips = "waiting";
    this.frames = (this.frames ?? 0) + 1;
    document.documentElement.dataset.frames = this.frames;
  }

  drawSources(code) {
    const { sources, mix } = this.view[code];
    sources.forEach((source, k) => {
      const button = this.find(`${code}-source-${k}`);
      paint(button.querySelector("canvas"), this.sourceImage(source), 1);
      button.setAttribute("aria-pressed", k === this.chosen[code]);
      button.setAttribute("aria-label", `${k ? "second" : "first"} source: ${this.named(source)}`);
      button.style.setProperty("--share", k ? mix : 1 - mix);
    });
    const slider = this.find(`${code}-mix`);
    slider.value = mix;
    slider.setAttribute("aria-valuetext", `${Math.round(100 * mix)} % of the second`);
    const chosen = this.chosenSource(code);
    this.find(`${code}-other`).disabled = Boolean(chosen.own);
    this.find(`${code}-note`).textContent = this.note(code, chosen);
    if (code === "s") {
      const people = [...this.find("people").elements];
      people.forEach((each, k) => (each.checked = k === chosen.character && !chosen.own));
    } else {
      this.drawPose(chosen);
    }
  }

  /** What the pickers of a code do now. */
  note(code, { own }) {
    const kind = code === "s" ? "a character" : "an action";
    if (code === "z" && this.view.axes) return "You set z below. Pick a pose to go back to a picture.";
    if (own) return `${code} is read from your sprite. Pick ${kind} to go back.`;
    return "The choices below change the outlined picture.";
  }

  drawPose({ own, pose }) {
    const { facts, find } = this;
    const [action, view, frame] = facts.poses[pose];
    find("action").value = action;
    fillSelect(find("facing"), this.viewsOf(action), facts.views);
    find("facing").value = view;
    const frames = this.framesOf(action, view).length;
    Object.assign(find("frame"), { max: frames, value: frame + 1 });
    find("frame").setAttribute("aria-valuetext", `${frame + 1} of ${frames}`);
    find("frame-number").textContent = `${frame + 1} of ${frames}`;
    find("play").disabled = Boolean(own);
    if (own) this.stop();
  }

  drawTruth() {
    const { find } = this;
    const found = truth(this.view);
    const canvas = find("truth");
    canvas.classList.toggle("absent", Boolean(found.reason));
    if (found.reason) {
      canvas.getContext("2d").clearRect(0, 0, 60, 60);
      canvas.setAttribute("aria-label", "no true sprite");
      find("truth-text").innerHTML = "<b>No true sprite</b>";
      find("truth-text").append(`: ${found.reason}.`);
    } else {
      const bytes = this.trueImage(found.character, found.pose);
      paint(canvas, bytes, 1);
      const named = this.named(found);
      canvas.setAttribute("aria-label", `the true sprite: ${named}`);
      find("truth-text").innerHTML = "<b>The true sprite.</b>";
      const db = psnr(this.image, bytes);
      find("truth-text").append(` PSNR ${db.toFixed(1)} dB: higher is closer, ${this.facts.texts.exact} is usual.`);
    }
  }

  drawAxes(z) {
    for (const { axis, slider, output } of this.strips) {
      slider.value = z[axis];
      output.textContent = z[axis].toFixed(2);
      slider.setAttribute("aria-valuetext", z[axis].toFixed(2));
    }
  }

  /** Draws the strips of all axes, a picture at a time, until the view changes. */
  drawStrips(z, s) {
    const root = document.documentElement;
    const now = this.stale;
    const todo = this.strips.flatMap((strip) => [...Array(STEPS).keys()].map((k) => [strip, k]));
    const next = () => {
      if (now !== this.stale || this.playing) return;
      const started = performance.now();
      while (todo.length && performance.now() - started < 12) {
        const [{ axis, strip, range }, k] = todo.shift();
        const changed = z.slice();
        changed[axis] = stepValue(k, range);
        paint(strip, this.model.decode(changed, s), 255, 60 * k);
        if (k === STEPS - 1) strip.classList.remove("old");
      }
      if (todo.length) setTimeout(next);
      else root.dataset.strips = "drawn";
    };
    next();
    this.writeAddress();
  }

  // ---- what the visitor does

  listen() {
    const { find } = this;
    for (const code of ["s", "z"]) {
      const panel = find(`${code}-panel`);
      find(`${code}-mix`).addEventListener("input", (event) => {
        this.setMix(code, Number(event.target.value));
      });
      for (const k of [0, 1]) {
        const button = find(`${code}-source-${k}`);
        button.addEventListener("click", () => this.choose(code, k));
        button.addEventListener("drop", (event) => {
          event.stopPropagation();
          this.dropped(event, code, k);
        });
      }
      find(`${code}-file`).addEventListener("change", (event) => {
        const file = event.target.files[0];
        if (file) this.takeSprite(code, file, this.chosen[code]);
        event.target.value = ""; // so that the same file can be chosen again
      });
      panel.addEventListener("drop", (event) => {
        event.stopPropagation();
        this.dropped(event, code, this.chosen[code]);
      });
      find(`${code}-other`).addEventListener("click", () => this.readElsewhere(code));
    }
    document.addEventListener("dragover", (event) => event.preventDefault());
    document.addEventListener("drop", (event) => this.dropped(event, null));
    find("play").addEventListener("click", () => (this.playing ? this.stop() : this.play()));
    find("random").addEventListener("click", () => this.randomSources());
    find("prior").addEventListener("click", () => this.fromPrior());
    find("from-pose").addEventListener("click", () => {
      this.followPose();
      this.changed();
      find("z-mix").focus(); // the button is disabled now, and would lose the focus
    });
    find("reset").addEventListener("click", () => {
      this.stop();
      this.setView(this.standardView());
      this.say("");
    });
    find("link").addEventListener("click", () => this.copyLink());
    find("save").addEventListener("click", () => this.savePicture());
    addEventListener("hashchange", () => this.readAddress());
    addEventListener("keydown", (event) => this.pressed(event));
  }

  pressed(event) {
    const usesSpace = /^(SELECT|BUTTON)$/.test(event.target.tagName) || event.target.type === "file";
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key.toLowerCase(); // Caps Lock gives capitals
    const shortcuts = { r: "random", p: "prior", 0: "reset" };
    if (key === " " && !usesSpace) {
      event.preventDefault(); // else the page scrolls
      this.find("play").click();
    } else if (key in shortcuts && event.target.tagName !== "SELECT") {
      this.find(shortcuts[key]).click();
    }
  }

  /** z comes from the poses again. */
  followPose() {
    this.view.axes = null;
    this.view.isPrior = false;
  }

  pickCharacter(character) {
    Object.assign(this.chosenSource("s"), { character, pose: this.facts.portrait, own: undefined });
    this.changed();
  }

  pickPose(action, view, frame) {
    const views = this.viewsOf(action);
    const facing = views.includes(view) ? view : views[0];
    const poses = this.framesOf(action, facing);
    const pose = poses[Math.min(frame, poses.length - 1)];
    Object.assign(this.chosenSource("z"), { pose, own: undefined });
    this.followPose();
    this.changed();
  }

  /** Reads a code from another image that should give the same: of the character, of the pose. */
  readElsewhere(code) {
    const source = this.chosenSource(code);
    const [key, count] =
      code === "s" ? ["pose", this.facts.poses.length] : ["character", this.characters];
    source[key] = another(source[key], count);
    const same = code === "s" ? "s is read from the same character" : "z is read from the same pose";
    this.say(`${same} in another picture, so the result should hardly change.`);
    if (code === "z") this.followPose();
    this.changed();
  }

  moveAxis(axis, value) {
    this.stop();
    this.view.axes = (this.view.axes ?? this.viewCodes().z).slice();
    this.view.axes[axis] = value;
    this.view.isPrior = false;
    this.changed();
  }

  randomSources() {
    for (const source of this.view.s.sources) {
      const character = another(source.character, this.characters);
      Object.assign(source, { character, pose: this.facts.portrait, own: undefined });
    }
    for (const source of this.view.z.sources) {
      const character = another(this.chosenSource("s").character, this.characters);
      const pose = another(source.pose, this.facts.poses.length);
      Object.assign(source, { character, pose, own: undefined });
    }
    this.followPose();
    this.changed();
  }

  fromPrior() {
    this.stop();
    this.view.axes = Float32Array.from(this.viewCodes().z, () => normal());
    this.view.isPrior = true;
    this.changed();
  }

  /** Moves both poses through the frames of their actions. */
  play() {
    this.followPose();
    this.playing = setInterval(() => {
      for (const source of this.view.z.sources) {
        if (source.own) continue;
        const [action, view, frame] = this.facts.poses[source.pose];
        const poses = this.framesOf(action, view);
        source.pose = poses[(frame + 1) % poses.length];
      }
      this.changed();
    }, 120);
    this.find("play").textContent = "Pause";
    this.changed();
  }

  stop() {
    if (!this.playing) return;
    clearInterval(this.playing);
    this.playing = 0;
    this.find("play").textContent = "Play the action";
    this.changed();
  }

  dropped(event, code, k) {
    event.preventDefault();
    const file = event.dataTransfer.files[0];
    if (!code) this.say("Drop the sprite on the sources of s or on those of z.", true);
    else if (!file) this.say("That was no file: drop an image of 60×60 pixels.", true);
    else this.takeSprite(code, file, k);
  }

  /** Takes a file of the visitor as source k of a code. */
  async takeSprite(code, file, k) {
    let picture;
    try {
      picture = await createImageBitmap(file, { colorSpaceConversion: "none" });
    } catch {
      this.say(`${file.name} is no image that this browser can read.`, true);
      return;
    }
    const { width, height } = picture;
    if (width !== 60 || height !== 60) {
      this.say(`${file.name} has ${width}×${height} pixels: a sprite has 60×60.`, true);
      return;
    }
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    const context = canvas.getContext("2d");
    context.fillRect(0, 0, width, height); // black, as the background of the data
    context.drawImage(picture, 0, 0);
    const pixels = context.getImageData(0, 0, width, height).data;
    this.view[code].sources[k].own = Uint8Array.from(pixels.filter((_, i) => i % 4 !== 3));
    this.choose(code, k);
    const isBlack = Math.max(...pixels.slice(0, 3)) < 16; // its first corner
    const warning = isBlack ? "" : " Its background is not black, so the model may misread it.";
    this.say(`${code} is now read from ${file.name}, which stays in this browser.${warning}`);
  }

  // ---- the address, and what leaves the page

  readAddress() {
    const text = location.hash.slice(1);
    if (this.view && text === viewToText(this.view)) return;
    const { facts, characters } = this;
    const found = textToView(text, characters, facts.poses.length, facts.ranges.length);
    this.stop();
    this.setView(found ?? this.standardView());
    if (text && !found) this.say("The address held no view of this page: this is the first.", true);
  }

  writeAddress() {
    try {
      history.replaceState(null, "", `#${viewToText(this.view)}`);
    } catch {
      // a frame without an origin may not; the page works without an address
    }
  }

  async copyLink() {
    this.writeAddress();
    const isOwn = [...this.view.s.sources, ...this.view.z.sources].some(({ own }) => own);
    const note = isOwn ? " It cannot hold your own sprite." : "";
    try {
      await navigator.clipboard.writeText(location.href);
      this.say(`The link to this view is copied.${note}`);
    } catch {
      this.say(`Copy the address of this page: it holds this view.${note}`);
    }
  }

  /** Saves a picture of the sources, the decoded sprite and the true one. */
  savePicture() {
    if (origin === "null" && location.protocol !== "file:") {
      this.say("This frame may not save files: open explorer.html in a browser.", true);
      return;
    }
    const { find } = this;
    const [width, height] = [1080, 560];
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    const context = canvas.getContext("2d");
    context.fillStyle = "white";
    context.fillRect(0, 0, width, height);
    context.imageSmoothingEnabled = false;
    const place = (id, x, y, size) => context.drawImage(find(id), x, y, size, size);
    const write = (text, x, y, font = "20px sans-serif", colour = "#222") => {
      Object.assign(context, { font, fillStyle: colour });
      context.fillText(text, x, y);
    };
    const percent = (code) => `${Math.round(100 * this.view[code].mix)} % of the second`;
    write("s: the character", 30, 45, "bold 22px sans-serif", "#0072B2");
    write("z: the pose", 870, 45, "bold 22px sans-serif", "#C04A00");
    for (const [code, x] of [["s", 30], ["z", 870]]) {
      for (const k of [0, 1]) place(`${code}-canvas-${k}`, x, 65 + 200 * k, 180);
      write(this.view.axes && code === "z" ? "set by hand" : percent(code), x, 480);
    }
    place("result", 330, 65, 300);
    place("truth", 660, 185, 180);
    write(find("truth-text").textContent, 330, 400, "18px sans-serif");
    write(this.facts.texts.attribution, 30, 535, "14px sans-serif", "#555");
    canvas.toBlob((blob) => {
      const address = URL.createObjectURL(blob);
      Object.assign(document.createElement("a"), { href: address, download: "sprite.png" }).click();
      setTimeout(() => URL.revokeObjectURL(address), 60_000);
      this.say("The picture is saved as sprite.png.");
    });
  }

  say(sentence, isError = false) {
    const status = this.find("status");
    status.textContent = sentence;
    status.classList.toggle("error", isError);
    clearTimeout(this.quiet);
    this.quiet = setTimeout(() => (status.textContent = ""), 8_000);
  }

  // ---- making the controls

  showFacts() {
    for (const [name, value] of Object.entries(this.facts.texts)) {
      document.querySelector(`[data-text="${name}"]`).textContent = value;
    }
    this.find("weapon").hidden = !this.facts.portrait_hides_weapon;
  }

  makePickers() {
    const { facts, find } = this;
    for (let character = 0; character < this.characters; character++) {
      const label = document.createElement("label");
      const input = Object.assign(document.createElement("input"), { type: "radio", name: "who" });
      input.setAttribute("aria-label", this.named({ character }));
      input.addEventListener("change", () => this.pickCharacter(character));
      const canvas = newCanvas(60);
      paint(canvas, this.trueImage(character, facts.portrait), 1);
      label.append(input, canvas);
      find("people").append(label);
    }
    const pick = (place, value) => {
      const pose = [...facts.poses[this.chosenSource("z").pose]];
      pose[place] = value;
      this.pickPose(...pose);
    };
    fillSelect(find("action"), [...facts.actions.keys()], facts.actions);
    find("action").addEventListener("change", (event) => pick(0, Number(event.target.value)));
    find("facing").addEventListener("change", (event) => pick(1, Number(event.target.value)));
    find("frame").addEventListener("input", (event) => {
      this.stop();
      pick(2, Number(event.target.value) - 1);
    });
  }

  /** A slider of z with its strip of pictures. */
  makeAxis(axis) {
    const range = this.facts.ranges[axis];
    const row = this.find("axis").content.firstElementChild.cloneNode(true);
    const [slider, output, strip] = ["input", "output", "canvas"].map((name) =>
      row.querySelector(name)
    );
    row.querySelector(".name").prepend(`z${subscript(axis + 1)}`);
    Object.assign(slider, { min: -range, max: range, step: range / 100 });
    slider.setAttribute("aria-label", `axis ${axis + 1} of z`);
    slider.addEventListener("input", () => this.moveAxis(axis, Number(slider.value)));
    strip.addEventListener("click", (event) => {
      const { left, width } = strip.getBoundingClientRect();
      const k = Math.floor((STEPS * (event.clientX - left)) / width);
      this.moveAxis(axis, stepValue(Math.min(Math.max(k, 0), STEPS - 1), range));
    });
    this.find("axes").append(row);
    return { axis, slider, output, strip, range };
  }

  viewsOf(action) {
    return [...new Set(this.facts.poses.filter((p) => p[0] === action).map((p) => p[1]))];
  }

  /** The poses of an action and view, frame by frame. */
  framesOf(action, view) {
    const all = [...this.facts.poses.keys()];
    return all.filter((p) => this.facts.poses[p][0] === action && this.facts.poses[p][1] === view);
  }

  named({ character, pose, own }) {
    if (own) return "your sprite";
    const who = `character ${character + 1}`;
    if (pose === undefined) return who;
    const [action, view, frame] = this.facts.poses[pose];
    return `${who}, ${this.facts.actions[action]} ${this.facts.views[view]}, frame ${frame + 1}`;
  }
}

/** The value of picture k in the strip of an axis. */
function stepValue(k, range) {
  return range * ((2 * k) / (STEPS - 1) - 1);
}

/** A number from 0 to count - 1 other than `value`, where there is one. */
function another(value, count) {
  return (value + 1 + Math.floor(Math.random() * Math.max(count - 1, 1))) % count;
}

function subscript(number) {
  return String(number).replace(/\d/g, (digit) => "₀₁₂₃₄₅₆₇₈₉"[digit]);
}

function newCanvas(size) {
  return Object.assign(document.createElement("canvas"), { width: size, height: size });
}

/** Draws an image (60, 60, 3) whose values are 255 / `scale` at most, at x from the left. */
function paint(canvas, image, scale, x = 0) {
  const picture = new ImageData(60, 60);
  for (let i = 0; i < 60 * 60; i++) {
    for (let k = 0; k < 3; k++) picture.data[4 * i + k] = Math.round(scale * image[3 * i + k]);
    picture.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(picture, x, 0);
}

function fillSelect(select, values, names) {
  const present = [...select].map((option) => option.value);
  if (present.join() === values.join()) return;
  select.replaceChildren(...values.map((value) => new Option(names[value], value)));
}

if (typeof document === "undefined") {
  module.exports = { Model, mixed, normal, psnr, restored, textToView, truth, unpack, viewToText };
} else {
  start();
}
