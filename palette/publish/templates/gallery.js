"use strict";
// The gallery: a grid of which only the rows in sight are in the page, and a dialog that compares the pictures of one image.
// Reads the JSON in #data, as palette/publish/gallery.py writes it. Pictures are parts of sheets, shown as backgrounds: a page
// opened from a disk may load pictures, but not read files.
(() => {
const GAP = 8, OVERSCAN = 2, CAPTION = 38;
const PICTURES = ["input", "output", "original"];
const PAIRS = [["input", "output"], ["output", "original"]];
const ZOOMS = [0.25, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32];

const data = JSON.parse(document.getElementById("data").textContent);
const at = (id) => document.getElementById(id);
const make = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};

// ------------------------------------------------------------------------------------------------ images

const experiments = data.experiments;
const items = experiments.flatMap((experiment) => {
  const dataset = data.datasets[experiment.dataset];
  const common = `${experiment.name} ${experiment.title} ${experiment.label} `.toLowerCase();
  return Array.from({ length: dataset.images }, (_, image) => ({
    experiment, image, text: common + `${className(dataset, image)} ${dataset.files[image] ?? ""}`.toLowerCase(),
  }));
});

function className(dataset, image) {
  return dataset.classes[dataset.labels[image]] ?? "";
}

/** Shows picture `kind` of an item in `element`, `side` CSS pixels wide. */
function paint(element, item, kind, side) {
  const { experiment } = item, set = experiment[kind] ?? experiment.output ?? experiment.original;
  const { size, across } = data.datasets[item.experiment.dataset];
  const inSheet = item.image % (across * across);
  const style = element.style;
  style.width = style.height = `${side}px`;
  style.backgroundImage = `url("${sheet(set, Math.floor(item.image / (across * across)))}")`;
  style.backgroundSize = `${across * side}px auto`;
  style.backgroundPosition = `${-(inSheet % across) * side}px ${-Math.floor(inSheet / across) * side}px`;
  element.classList.toggle("pixels", side >= 2 * size);
}

// Of a page that stands alone, the sheets are inside it: one for each set of pictures.
const inside = Object.fromEntries(Object.entries(data.sheets ?? {}).map(([set, base64]) => [set,
  URL.createObjectURL(new Blob([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], { type: "image/png" }))]));

function sheet(set, number) {
  return inside[set] ?? encodeURI(`${set}-${String(number).padStart(3, "0")}.png`);
}

/** What a person who cannot see it is told of a picture. */
function words({ experiment, image }, kind) {
  const what = kind === "output" && experiment.output ? `output of ${experiment.label}` : experiment[kind] ? kind : "original";
  const of = className(data.datasets[experiment.dataset], image);
  return `${what}, ${experiment.title}, image ${image}${of && `, ${of}`}`;
}

// ------------------------------------------------------------------------------------------------- state

const state = { dataset: "", task: "", experiment: "", q: "", order: "", show: "output" };
let shown = [];  // the items that fit the filters, in order
let open = null;  // the item in the dialog
let written = "";  // the fragment that this page itself wrote last

function fits() {
  const tokens = state.q.toLowerCase().split(/\s+/).filter(Boolean);
  const numbers = new Set(tokens.filter((t) => /^#\d+$/.test(t)).map((t) => Number(t.slice(1))));
  const parts = tokens.filter((t) => !/^#\d+$/.test(t));
  return ({ experiment, image, text }) =>
    (!state.dataset || experiment.dataset === state.dataset) &&
    (!state.task || experiment.task === state.task) &&
    (!state.experiment || experiment.name === state.experiment) &&
    (!numbers.size || numbers.has(image)) &&
    parts.every((part) => text.includes(part));
}

function refresh() {
  shown = items.filter(fits());
  if (state.order === "image") {
    const rank = Object.fromEntries(Object.keys(data.datasets).map((name, index) => [name, index]));
    shown.sort((a, b) => rank[a.experiment.dataset] - rank[b.experiment.dataset] || a.image - b.image);
  }
  at("count").textContent = `${shown.length.toLocaleString("en")} of ${items.length.toLocaleString("en")} images`;
  at("empty").hidden = shown.length > 0;
  at("empty").textContent = "No image fits. Change the search, or clear the filters.";
  active = shown.length ? 0 : -1;
  grid.scrollTop = 0;
  layout();
}

function link() {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(state)) if (value && !(key === "show" && value === "output")) query.set(key, value);
  if (open) {
    query.set("experiment", open.experiment.name);
    query.set("image", open.image);
  }
  return query.toString();
}

/** Puts what is seen into the address, so that it can be copied. */
function record(entry = false) {
  const fragment = link();
  if (fragment === written) return;
  written = fragment;
  try {
    history[entry ? "pushState" : "replaceState"](null, "", `#${fragment}`);
  } catch { /* inside another page, which owns the address */ }
}

/** Shows what the address asks for. */
function follow() {
  const fragment = location.hash.slice(1);
  if (fragment === written) return;
  written = fragment;
  const query = new URLSearchParams(fragment);
  for (const key of Object.keys(state)) state[key] = query.get(key) ?? (key === "show" ? "output" : "");
  if (!PICTURES.includes(state.show)) state.show = "output";
  const unknown = state.experiment && !experiments.some((experiment) => experiment.name === state.experiment);
  choices();
  refresh();
  if (unknown) at("empty").textContent = `No experiment is called ${state.experiment}.`;
  const image = query.get("image");
  const wanted = image === null ? -1 : shown.findIndex((item) => item.image === Number(image));
  if (image !== null && wanted < 0) {
    at("count").textContent += `; image ${image} is not among them`;
  }
  if (wanted >= 0) {
    activate(wanted, false);
    view(shown[wanted]);
  } else if (viewer.open) {
    viewer.close();
  }
}

// ----------------------------------------------------------------------------------------------- filters

const unique = (values) => [...new Set(values)];

function options(select, values, chosen, all) {
  select.replaceChildren(new Option(all, ""), ...values.map(([value, text]) => new Option(text, value)));
  if (chosen && !values.some(([value]) => value === chosen)) select.add(new Option(chosen, chosen));
  select.value = chosen;
}

function choices() {
  const inDataset = experiments.filter((e) => !state.dataset || e.dataset === state.dataset);
  const inTask = inDataset.filter((e) => !state.task || e.task === state.task);
  options(at("dataset"), Object.keys(data.datasets).map((name) => [name, name]), state.dataset, "all");
  options(at("task"), unique(inDataset.map((e) => e.task).filter(Boolean)).map((name) => [name, name]), state.task, "all");
  options(at("experiment"), inTask.map((e) => [e.name, e.name]), state.experiment, "all");
  at("order").value = state.order;
  at("q").value = state.q;
  document.querySelector(`input[name=show][value=${state.show}]`).checked = true;
}

for (const key of ["dataset", "task", "experiment", "order"]) {
  at(key).addEventListener("change", () => {
    state[key] = at(key).value;
    if (key === "dataset" && !experiments.some((e) => e.dataset === state.dataset && e.task === state.task)) state.task = "";
    if (key === "dataset" || key === "task") state.experiment = "";
    choices();
    refresh();
    record();
  });
}
at("q").addEventListener("input", () => {
  state.q = at("q").value.trim();
  refresh();
  record();
});
at("filters").addEventListener("submit", (event) => {
  event.preventDefault();
  grid.focus();
});
at("show").addEventListener("change", (event) => showKind(event.target.value));
at("size").addEventListener("input", () => layout());
at("clear").addEventListener("click", () => {
  Object.assign(state, { dataset: "", task: "", experiment: "", q: "", order: "" });
  choices();
  refresh();
  record();
});
at("more").addEventListener("click", () => {
  const opened = at("choices").classList.toggle("open");
  at("more").setAttribute("aria-expanded", opened);
});

function showKind(kind) {
  state.show = kind;
  document.querySelector(`input[name=show][value=${kind}]`).checked = true;
  clearRows();
  draw();
  record();
}

// -------------------------------------------------------------------------------------------------- grid

const grid = at("grid"), canvas = at("canvas");
const rows = new Map();  // number of a row → its element: only the rows in sight and OVERSCAN more
let columns = 1, side = 100, pitch = 100, active = -1, waiting = false;

function layout() {
  const width = canvas.clientWidth;
  columns = Math.max(1, Math.floor((width + GAP) / (Number(at("size").value) + GAP)));
  side = Math.max(16, Math.floor((width + GAP) / columns) - GAP);
  pitch = side + CAPTION + GAP;
  const count = Math.ceil(shown.length / columns);
  canvas.style.height = `${count * pitch + GAP}px`;
  grid.setAttribute("aria-rowcount", count);
  grid.setAttribute("aria-colcount", columns);
  clearRows();
  draw();
}

function clearRows() {
  rows.clear();
  canvas.replaceChildren();
}

function draw() {
  waiting = false;
  const count = Math.ceil(shown.length / columns);
  const first = Math.max(0, Math.floor(grid.scrollTop / pitch) - OVERSCAN);
  const last = Math.min(count - 1, Math.floor((grid.scrollTop + grid.clientHeight) / pitch) + OVERSCAN);
  for (const [number, element] of rows) {
    if (number < first || number > last) {
      element.remove();
      rows.delete(number);
    }
  }
  for (let number = first; number <= last; number++) {
    if (!rows.has(number)) {
      const element = rowElement(number);
      rows.set(number, element);
      const after = [...rows.keys()].filter((other) => other > number);
      canvas.insertBefore(element, after.length ? rows.get(Math.min(...after)) : null);
    }
  }
  mark();
}

function rowElement(number) {
  const row = make("div", { role: "row", class: "row", "aria-rowindex": number + 1 });
  row.style.top = `${number * pitch + GAP}px`;
  shown.slice(number * columns, (number + 1) * columns).forEach((item, column) => {
    const picture = make("div", { class: "picture" });
    paint(picture, item, state.show, side);
    const of = className(data.datasets[item.experiment.dataset], item.image);
    const caption = make("div", { class: "caption", "aria-hidden": "true" },
      make("div", {}, item.experiment.label),
      make("div", { class: "soft" }, [`#${item.image} ${of}`, item.experiment.task].filter(Boolean).join(" · ")));
    const id = number * columns + column;
    const cell = make("div", { role: "gridcell", class: "cell", id: `cell-${id}`, "aria-colindex": column + 1,
      "aria-label": words(item, state.show), title: item.experiment.name }, picture, caption);
    cell.style.width = `${side}px`;
    cell.addEventListener("click", () => {
      activate(id, false);
      view(item, true);
    });
    row.append(cell);
  });
  return row;
}

function mark() {
  canvas.querySelector(".active")?.classList.remove("active");
  const cell = at(`cell-${active}`);
  if (cell) {
    cell.classList.add("active");
    grid.setAttribute("aria-activedescendant", cell.id);
  } else {
    grid.removeAttribute("aria-activedescendant");
  }
}

/** Makes item `index` of those shown the current one, and brings it into sight. */
function activate(index, drawNow = true) {
  if (!shown.length) return;
  active = Math.min(shown.length - 1, Math.max(0, index));
  const top = Math.floor(active / columns) * pitch;
  if (top < grid.scrollTop) grid.scrollTop = top;
  if (top + pitch + GAP > grid.scrollTop + grid.clientHeight) grid.scrollTop = top + pitch + GAP - grid.clientHeight;
  if (drawNow) draw(); else mark();
}

grid.addEventListener("scroll", () => {
  if (!waiting) requestAnimationFrame(draw);
  waiting = true;
}, { passive: true });
new ResizeObserver(() => {
  const kept = active;
  layout();
  if (kept > 0) activate(kept);
}).observe(grid);

grid.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const page = Math.max(1, Math.floor(grid.clientHeight / pitch)) * columns;
  const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, PageUp: -page, PageDown: page,
    Home: -shown.length, End: shown.length };
  if (event.key in moves) {
    // Up and down stay in their column: at the first and last row they do nothing.
    const target = active + moves[event.key];
    const step = event.key === "ArrowUp" || event.key === "ArrowDown";
    if (!step || (target >= 0 && target < shown.length)) activate(target);
  } else if ((event.key === "Enter" || event.key === " ") && active >= 0) {
    activate(active);
    view(shown[active], true);
  } else {
    return;
  }
  event.preventDefault();
});
document.addEventListener("keydown", (event) => {
  if (viewer.open || event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input[type=search], select")) return;
  if (event.key === "/") {
    at("q").focus();
    event.preventDefault();
  } else if (["1", "2", "3"].includes(event.key)) {
    showKind(PICTURES[event.key - 1]);
  }
});

// ------------------------------------------------------------------------------------------------ viewer

const viewer = at("viewer"), stage = at("stage"), frame = at("frame");
let mode = "input|output", zoom = 0;  // zoom: CSS pixels per pixel of the picture; 0 fits the window

function modes(experiment) {
  const singles = PICTURES.filter((kind) => experiment[kind]);
  const pairs = PAIRS.filter((pair) => pair.every((kind) => experiment[kind])).map((pair) => pair.join("|"));
  return [...singles, ...pairs];
}

function view(item, entry = false) {
  open = item;
  const before = document.activeElement?.closest("#others") !== null && viewer.open;
  if (!viewer.open) viewer.showModal();
  describe(item);
  setModes(item);
  compare();
  if (before) at("others").querySelector("[aria-current=true]")?.focus();
  record(entry);
}

function describe(item) {
  const { experiment, image } = item, dataset = data.datasets[experiment.dataset], place = shown.indexOf(item);
  at("name").textContent = [`#${image}`, className(dataset, image), experiment.title, experiment.label].filter(Boolean).join(" · ");
  at("place").textContent = place < 0 ? "" : `${(place + 1).toLocaleString("en")} of ${shown.length.toLocaleString("en")}`;
  const facts = { experiment: experiment.name, dataset: experiment.dataset, class: className(dataset, image),
    file: dataset.files[image], size: `${dataset.size} × ${dataset.size} pixels`, NFE: experiment.nfe, seed: experiment.seed };
  at("facts").replaceChildren(...Object.entries(facts).filter(([, value]) => value !== null && value !== undefined && value !== "")
    .flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, String(value))]));
  at("links").replaceChildren(...experiment.links.map(([text, base, files]) => make("span", {}, `${text}: `,
    ...files.flatMap(([name, file]) => [make("a", { href: encodeURI(`${base}/${file.replace("{shard}", shard(experiment, image))}`) }, name), " "]))));
  at("scores").tBodies[0].replaceChildren(...experiment.scores.map(([name, value, interval]) =>
    make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, value, ...(interval ? [make("small", {}, interval)] : [])))));
  at("scores").hidden = !experiment.scores.length;
  others(item);
}

function shard(experiment, image) {
  return String(Math.floor(image / (experiment.shard || 1))).padStart(3, "0");
}

function rivals({ experiment }) {
  return experiments.filter((e) => e.dataset === experiment.dataset && e.task === experiment.task);
}

function others(item) {
  at("others").replaceChildren(...rivals(item).map((experiment) => {
    const picture = make("div", { class: "picture" });
    paint(picture, { experiment, image: item.image }, "output", 72);
    const button = make("button", { type: "button", title: experiment.name, "aria-current": experiment === item.experiment }, picture, experiment.label);
    button.addEventListener("click", () => go(experiment, item.image));
    return button;
  }));
}

/** The item of an experiment and image, among those shown or not. */
function go(experiment, image) {
  const same = (item) => item.experiment === experiment && item.image === image;
  const index = shown.findIndex(same);
  if (index >= 0) activate(index, false);
  view(index >= 0 ? shown[index] : items.find(same));
}

function step(by) {
  const index = shown.indexOf(open) + by;
  if (index < 0 || index >= shown.length) return;
  activate(index, false);
  view(shown[index]);
}

function rival(by) {
  const list = rivals(open), next = list[list.indexOf(open.experiment) + by];
  if (next) go(next, open.image);
}

function setModes(item) {
  const possible = modes(item.experiment);
  if (!possible.includes(mode)) mode = possible.at(-1);
  const box = at("mode"), focused = box.contains(document.activeElement);
  box.replaceChildren(box.firstElementChild, ...possible.map((name) => {
    const input = make("input", { type: "radio", name: "mode", value: name });
    input.checked = name === mode;
    return make("label", {}, input, ` ${name.replace("|", " | ")}`);
  }));
  if (focused) box.querySelector(":checked").focus();
}

/** Draws the picture, or the two of which the slider shows one on each side. */
function compare() {
  const [left, right] = mode.split("|"), size = data.datasets[open.experiment.dataset].size;
  const wide = Math.round((zoom || fitting(size)) * size);
  frame.style.width = frame.style.height = `${wide}px`;
  paint(at("under"), open, right ?? left, wide);
  at("over").hidden = at("edge").hidden = !right;
  at("wiper").style.visibility = right ? "" : "hidden";
  frame.classList.toggle("wiping", Boolean(right));
  frame.style.touchAction = right && !zoom ? "pan-y" : "auto";
  if (right) paint(at("over"), open, left, wide);
  at("left").textContent = left;
  at("right").textContent = right ?? "";
  frame.setAttribute("aria-label", right ? `${words(open, left)}; right of the slider, ${words(open, right)}` : words(open, left));
  at("scale").textContent = `${Math.round(100 * wide / size)} %`;
  wipe();
}

function wipe() {
  const share = at("wipe").value;
  at("over").style.clipPath = `inset(0 ${100 - share}% 0 0)`;
  at("edge").style.left = `${share}%`;
}

/** The largest zoom that fits: a whole number for small pictures, whose pixels are then all alike. */
function fitting(size) {
  const room = Math.max(32, Math.min(stage.clientWidth, stage.clientHeight) - 24) / size;
  return room >= 2 ? Math.floor(room) : room;
}

function setZoom(by) {
  const size = data.datasets[open.experiment.dataset].size, now = zoom || fitting(size);
  const centre = [(stage.scrollLeft + stage.clientWidth / 2) / stage.scrollWidth, (stage.scrollTop + stage.clientHeight / 2) / stage.scrollHeight];
  zoom = by === 0 ? 0 : (by > 0 ? ZOOMS.find((z) => z > now + 1e-6) : ZOOMS.findLast((z) => z < now - 1e-6)) ?? now;
  compare();
  stage.scrollTo(centre[0] * stage.scrollWidth - stage.clientWidth / 2, centre[1] * stage.scrollHeight - stage.clientHeight / 2);
}

function setMode(name) {
  if (!modes(open.experiment).includes(name)) return;
  mode = name;
  setModes(open);
  compare();
}

function moveWipe(by) {
  at("wipe").value = Number(at("wipe").value) + by;
  wipe();
}

at("wipe").addEventListener("input", wipe);
at("mode").addEventListener("change", (event) => setMode(event.target.value));
at("in").addEventListener("click", () => setZoom(1));
at("out").addEventListener("click", () => setZoom(-1));
at("fit").addEventListener("click", () => setZoom(0));
at("previous").addEventListener("click", () => step(-1));
at("next").addEventListener("click", () => step(1));
at("close").addEventListener("click", () => viewer.close());
viewer.addEventListener("close", () => {
  open = null;
  record();
  draw();
  grid.focus({ preventScroll: true });
});
new ResizeObserver(() => { if (open) compare(); }).observe(stage);

// Dragging over the picture moves the slider; a finger does so only where the picture fits, and scrolls a larger one.
const drag = (event) => {
  const box = frame.getBoundingClientRect();
  at("wipe").value = 100 * (event.clientX - box.left) / box.width;
  wipe();
};
frame.addEventListener("pointerdown", (event) => {
  if (!mode.includes("|") || event.button !== 0) return;
  frame.setPointerCapture(event.pointerId);
  drag(event);
});
frame.addEventListener("pointermove", (event) => {
  if (frame.hasPointerCapture(event.pointerId)) drag(event);
});

viewer.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const own = event.target.matches("input") && event.key.startsWith("Arrow");  // a slider and radio buttons use arrows
  const keys = {
    ArrowLeft: () => step(-1), ArrowRight: () => step(1), ArrowUp: () => rival(-1), ArrowDown: () => rival(1),
    "[": () => moveWipe(-5), "]": () => moveWipe(5), "+": () => setZoom(1), "=": () => setZoom(1), "-": () => setZoom(-1), 0: () => setZoom(0),
    1: () => setMode("input"), 2: () => setMode("output"), 3: () => setMode("original"),
    4: () => setMode("input|output"), 5: () => setMode("output|original"),
  };
  if (own || !(event.key in keys)) return;
  keys[event.key]();
  event.preventDefault();
});

addEventListener("hashchange", follow);
written = null;
follow();
})();
