"use strict";
// All text that comes from the data is set as text, never as markup.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const by = (id) => document.getElementById(id);
  const PALETTE = ["#3b7dd8", "#e0851b", "#2a9d5c", "#d14b7f", "#8a63d2", "#1fa3b5", "#b5651d", "#7f8c2a"];
  const UNKNOWN = "(none)";
  const MOST_LISTED = 100;
  const PAD = 24;

  function make(tag, properties, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties || {})) {
      if (name in element) element[name] = value;
      else element.setAttribute(name, value);
    }
    element.append(...children.filter((child) => child !== null));
    return element;
  }
  const text = (tag, content, properties) => make(tag, { ...properties, textContent: content });
  const count = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
  const percent = (share) => `${(100 * share).toFixed(1)} %`;

  // --- where each video is: its group, and its place in it -----------------------------------------------------------
  const total = data.names.length;
  const groupOf = new Int32Array(total).fill(-1);
  const placeOf = new Int32Array(total).fill(-1);
  data.groups.forEach((group, g) => group.members.forEach((video, place) => {
    groupOf[video] = g;
    placeOf[video] = place;
  }));
  const failureOf = new Map(data.failed.map(([video, ...reason]) => [video, reason]));
  const problemOf = new Map(data.problems);

  const state = { group: 0, column: 0, isolated: -1, selected: -1, current: -1, scale: 1, dx: 0, dy: 0 };
  const group = () => data.groups[state.group];
  const column = () => data.columns[state.column];
  const picture = (video, which = 0) => (data.pictures[video] || [])[which];
  const source = (jpeg) => `data:image/jpeg;base64,${jpeg}`;
  const middle = (video) => {
    const pictures = data.pictures[video];
    return pictures ? pictures[Math.floor(pictures.length / 2)] : null;
  };

  function colourOfValue(value) {
    const { values } = column();
    const style = getComputedStyle(document.documentElement);
    if (values[value] === UNKNOWN) return style.getPropertyValue("--point-none");
    if (value < PALETTE.length) return PALETTE[value];
    // Hues repeat with many values: lightness separates those that are close.
    const tone = style.getPropertyValue(Math.floor(value / PALETTE.length) % 2 ? "--tone-strong" : "--tone-soft");
    return `hsl(${(value * 137.508) % 360} ${tone})`;
  }

  // --- the map -------------------------------------------------------------------------------------------------------
  const canvas = by("map");
  const pen = canvas.getContext("2d");
  const tip = by("tip");

  function side() {
    return Math.max(10, Math.min(canvas.clientWidth, canvas.clientHeight) - 2 * PAD);
  }
  function onScreen(place) {
    const [x, y] = group().places[place];
    const length = side() * state.scale;
    return [
      canvas.clientWidth / 2 + (x - 0.5) * length + state.dx,
      canvas.clientHeight / 2 - (y - 0.5) * length + state.dy,
    ];
  }

  let waiting = false;
  function redraw() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      draw();
    });
  }

  // The points are drawn once into a layer of their own, so that a pointer move does not redraw thousands of them.
  const layer = document.createElement("canvas");
  let layerOf = "";

  function radiusOfPoints() {
    const { members } = group();
    return members.length > 4000 ? 2.2 : members.length > 800 ? 3.2 : 5;
  }

  function draw() {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    const size = [Math.round(width * ratio), Math.round(height * ratio)];
    if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    canvas.dataset.side = side();
    canvas.dataset.points = group() ? group().members.length : 0;
    if (!group() || !size[0] || !size[1]) return;
    const wanted = [...size, state.group, state.column, state.isolated, state.scale, state.dx, state.dy, ink()].join();
    if (layerOf !== wanted) {
      drawLayer(size, ratio);
      layerOf = wanted;
    }
    drawLinks();
    pen.drawImage(layer, 0, 0, width, height);
    ring(state.selected, radiusOfPoints() + 5, 3);
    ring(state.current, radiusOfPoints() + 3, 2);
  }

  function drawLayer(size, ratio) {
    [layer.width, layer.height] = size;
    const brush = layer.getContext("2d");
    brush.setTransform(ratio, 0, 0, ratio, 0, 0);
    const radius = radiusOfPoints();
    const places = new Map();  // by colour, as changing the colour costs more than drawing a point
    group().members.forEach((video, place) => {
      const value = column() ? column().of[video] : 0;
      if (!places.has(value)) places.set(value, []);
      places.get(value).push(place);
    });
    let drawn = 0;
    for (const [value, chosen] of places) {
      brush.fillStyle = column() ? colourOfValue(value) : PALETTE[0];
      brush.globalAlpha = state.isolated < 0 || state.isolated === value ? 0.85 : 0.08;
      brush.beginPath();
      for (const place of chosen) {
        const [x, y] = onScreen(place);
        if (radius < 3) brush.rect(x - radius, y - radius, 2 * radius, 2 * radius);
        else {
          brush.moveTo(x + radius, y);
          brush.arc(x, y, radius, 0, 2 * Math.PI);
        }
        drawn += 1;
      }
      brush.fill("nonzero");
    }
    canvas.dataset.drawn = drawn;
  }

  function ink() {
    return getComputedStyle(document.documentElement).getPropertyValue("--ink");
  }
  function ring(video, radius, width) {
    if (video < 0 || groupOf[video] !== state.group) return;
    const [x, y] = onScreen(placeOf[video]);
    pen.strokeStyle = ink();
    pen.lineWidth = width;
    pen.beginPath();
    pen.arc(x, y, radius, 0, 2 * Math.PI);
    pen.stroke();
  }
  function drawLinks() {
    if (state.selected < 0 || groupOf[state.selected] !== state.group) return;
    const place = placeOf[state.selected];
    const [x, y] = onScreen(place);
    pen.strokeStyle = ink();
    pen.globalAlpha = 0.45;
    pen.lineWidth = 1;
    for (const neighbour of group().near[place]) {
      pen.beginPath();
      pen.moveTo(x, y);
      pen.lineTo(...onScreen(placeOf[neighbour]));
      pen.stroke();
    }
    pen.globalAlpha = 1;
  }

  function nearestTo(x, y, within) {
    let best = -1;
    let least = within * within;
    group().members.forEach((video, place) => {
      const [px, py] = onScreen(place);
      const distance = (px - x) ** 2 + (py - y) ** 2;
      if (distance < least) [best, least] = [video, distance];
    });
    return best;
  }

  function nextTowards(dx, dy) {
    if (state.current < 0) return nearestTo(canvas.clientWidth / 2, canvas.clientHeight / 2, 1e6);
    const [x, y] = onScreen(placeOf[state.current]);
    let best = -1;
    let least = Infinity;
    group().members.forEach((video, place) => {
      const [px, py] = onScreen(place);
      const along = (px - x) * dx + (py - y) * dy;
      const across = Math.abs((px - x) * dy) + Math.abs((py - y) * dx);
      const cost = along + 2 * across;
      if (along > 0.5 && across <= along * 1.5 && cost < least) [best, least] = [video, cost];
    });
    return best;
  }

  function pointAt(video, announce) {
    state.current = video;
    canvas.dataset.current = video;
    tip.hidden = video < 0;
    if (video >= 0) {
      const jpeg = middle(video);
      const label = column() ? `${column().name}: ${column().values[column().of[video]]}` : "";
      tip.replaceChildren(
        ...(jpeg ? [make("img", { src: source(jpeg), alt: "" })] : []),
        text("div", data.names[video]), text("div", label, { className: "quiet" }),
      );
      const [x, y] = onScreen(placeOf[video]);
      const right = x > canvas.clientWidth / 2;
      tip.style.left = right ? "auto" : `${x + 14}px`;
      tip.style.right = right ? `${canvas.clientWidth - x + 14}px` : "auto";
      tip.style.top = `${Math.max(0, Math.min(y - 20, canvas.clientHeight - tip.offsetHeight))}px`;
      if (announce) by("status").textContent = `${data.names[video]}. ${label}`;
    }
    redraw();
  }

  function zoom(factor, x = canvas.clientWidth / 2, y = canvas.clientHeight / 2) {
    const scale = Math.min(200, Math.max(0.5, state.scale * factor));
    const grown = scale / state.scale;
    state.dx = (state.dx + canvas.clientWidth / 2 - x) * grown + x - canvas.clientWidth / 2;
    state.dy = (state.dy + canvas.clientHeight / 2 - y) * grown + y - canvas.clientHeight / 2;
    state.scale = scale;
    pointAt(state.current, false);
  }
  function showWhole() {
    Object.assign(state, { scale: 1, dx: 0, dy: 0 });
    pointAt(state.current, false);
  }
  function keepInView(video) {
    const [x, y] = onScreen(placeOf[video]);
    if (x < 0 || y < 0 || x > canvas.clientWidth || y > canvas.clientHeight) {
      state.dx += canvas.clientWidth / 2 - x;
      state.dy += canvas.clientHeight / 2 - y;
    }
  }

  let drag = null;
  canvas.addEventListener("pointerdown", (event) => {
    drag = { x: event.offsetX, y: event.offsetY, moved: false };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!group()) return;
    if (!drag) return pointAt(nearestTo(event.offsetX, event.offsetY, 14), false);
    if (!drag.moved && Math.hypot(event.offsetX - drag.x, event.offsetY - drag.y) < 4) return;
    state.dx += event.offsetX - drag.x;
    state.dy += event.offsetY - drag.y;
    drag = { x: event.offsetX, y: event.offsetY, moved: true };
    pointAt(-1, false);
  });
  canvas.addEventListener("pointerup", (event) => {
    if (drag && !drag.moved && group()) {
      const video = nearestTo(event.offsetX, event.offsetY, 14);
      if (video >= 0) choose(video);
    }
    drag = null;
  });
  canvas.addEventListener("pointercancel", () => { drag = null; });
  canvas.addEventListener("pointerleave", () => { if (!drag) pointAt(-1, false); });
  canvas.addEventListener("wheel", (event) => {
    // Zooms only while the map has the focus: otherwise the page scrolls.
    if (document.activeElement !== canvas && !event.ctrlKey) return;
    event.preventDefault();
    zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2, event.offsetX, event.offsetY);
  }, { passive: false });
  const ARROWS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  canvas.addEventListener("keydown", (event) => {
    if (!group() || event.ctrlKey || event.metaKey || event.altKey) return;
    if (ARROWS[event.key]) {
      if (state.current < 0 && groupOf[state.selected] === state.group) state.current = state.selected;
      const next = nextTowards(...ARROWS[event.key]);
      if (next >= 0) keepInView(next);
      pointAt(next >= 0 ? next : state.current, true);
    } else if ((event.key === "Enter" || event.key === " ") && state.current >= 0) choose(state.current);
    else if (event.key === "+" || event.key === "=") zoom(1.4);
    else if (event.key === "-") zoom(1 / 1.4);
    else if (event.key === "0") showWhole();
    else if (event.key === "Escape") choose(-1);
    else return;
    event.preventDefault();
  });
  by("zoom-in").addEventListener("click", () => zoom(1.4));
  by("zoom-out").addEventListener("click", () => zoom(1 / 1.4));
  by("zoom-reset").addEventListener("click", showWhole);
  new ResizeObserver(redraw).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { showLegend(); redraw(); });

  // --- colours -------------------------------------------------------------------------------------------------------
  function showLegend() {
    const legend = by("legend");
    legend.replaceChildren();
    if (!column()) return;
    const { values, of } = column();
    const sizes = new Array(values.length).fill(0);
    of.forEach((value) => { sizes[value] += 1; });
    values.slice(0, 60).forEach((value, number) => {
      const dot = make("span", { className: "dot" });
      dot.style.background = colourOfValue(number);
      const button = make("button", { type: "button", "aria-pressed": String(state.isolated === number) }, dot,
        `${value} (${sizes[number]})`);
      button.addEventListener("click", () => {
        state.isolated = state.isolated === number ? -1 : number;
        for (const other of legend.querySelectorAll("button")) other.setAttribute("aria-pressed", "false");
        button.setAttribute("aria-pressed", String(state.isolated === number));
        redraw();
      });
      legend.append(button);
    });
    if (values.length > 60) legend.append(text("span", `and ${values.length - 60} more`, { className: "quiet" }));
  }

  // How often the nearest neighbour has the same label: what retrieval at rank 1 would give.
  function showAgreement() {
    const line = by("agreement");
    line.textContent = "";
    if (!column() || !group() || !group().near.length || !group().near[0].length) return;
    const { of, values } = column();
    const sizes = new Map();
    let [known, same] = [0, 0];
    group().members.forEach((video, place) => {
      if (values[of[video]] === UNKNOWN) return;
      known += 1;
      sizes.set(of[video], (sizes.get(of[video]) || 0) + 1);
      if (of[group().near[place][0]] === of[video]) same += 1;
    });
    if (known < 2 || sizes.size < 2) return;
    let chance = 0;
    sizes.forEach((size) => { chance += (size * (size - 1)) / (known * (known - 1)); });
    line.textContent = `The nearest neighbour has the same ${column().name} for ${percent(same / known)} of the videos ` +
      `(${percent(chance)} by chance).`;
  }

  function fillChoice(id, options, change) {
    const select = by(id);
    options.forEach((option, number) => select.append(make("option", { value: number, textContent: option })));
    by(`${id}-choice`).hidden = options.length < 2;
    select.addEventListener("change", () => change(Number(select.value)));
  }
  function showGroup(number) {
    state.group = number;
    by("size").value = number;
    Object.assign(state, { scale: 1, dx: 0, dy: 0 });
    pointAt(-1, false);
    const [x, y] = group() ? group().axes : ["", ""];
    by("axes").textContent = group() ? `Horizontal axis: ${x}. Vertical axis: ${y}.` : "";
    canvas.setAttribute("aria-label", group() ? `Map of ${count(group().members.length, "video")}` : "Empty map");
    showAgreement();
    showStatistics();
  }

  // --- one video -----------------------------------------------------------------------------------------------------
  function videoButton(video, note) {
    const jpeg = middle(video);
    const button = make("button", { type: "button" },
      jpeg ? make("img", { src: source(jpeg), alt: "" }) : null,
      text("span", data.names[video], { className: "grow" }),
      note ? text("span", note, { className: "number" }) : null);
    button.dataset.video = video;
    button.addEventListener("click", () => choose(video, true));
    return button;
  }
  function link(video) {
    const button = text("button", data.names[video], { type: "button", className: "link" });
    button.addEventListener("click", () => choose(video, true));
    return button;
  }

  function choose(video, moveFocus) {
    state.selected = video;
    canvas.dataset.selected = video;
    const body = by("detail-body");
    body.replaceChildren();
    by("detail-heading").textContent = video < 0 ? "No video selected" : data.names[video];
    if (video < 0) {
      body.append(text("p", "Select a point on the map or a video in the list.", { className: "quiet" }));
      return redraw();
    }
    if (groupOf[video] >= 0 && groupOf[video] !== state.group) showGroup(groupOf[video]);
    if (groupOf[video] >= 0) keepInView(video);
    body.append(factsOf(video), ...framesOf(video), ...neighboursOf(video));
    tip.hidden = true;
    by("status").textContent = `Selected: ${data.names[video]}`;
    if (moveFocus) {
      by("detail").focus({ preventScroll: true });
      by("detail").scrollTop = 0;
      by("detail").scrollIntoView({ block: "nearest" });
    }
    redraw();
  }

  function definition(pairs) {
    const list = make("dl");
    for (const [name, value] of pairs) list.append(text("dt", name), text("dd", value));
    return list;
  }
  function factsOf(video) {
    const pairs = data.columns.map(({ name, values, of }) => [name, values[of[video]]]);
    if (data.shapes[video].length) pairs.push(["shape", `[${data.shapes[video].join(", ")}]`]);
    if (groupOf[video] >= 0) pairs.push(["norm", String(data.groups[groupOf[video]].norms[placeOf[video]])]);
    if (data.frames[video] !== null) pairs.push(["frames", String(data.frames[video])]);
    if (data.seconds[video] !== null) pairs.push(["seconds", String(data.seconds[video])]);
    if (failureOf.has(video)) {
      const [stage, kind, message] = failureOf.get(video);
      pairs.push(["failed", `${stage}, ${kind}`], ["message", message]);
    }
    if (problemOf.has(video)) pairs.push(["problem", problemOf.get(video)]);
    return definition(pairs);
  }
  function framesOf(video) {
    const pictures = data.pictures[video] || [];
    const similarity = data.similarities[video];
    const reel = make("div", { className: "reel" }, ...pictures.map((jpeg, number) => make("img", {
      src: source(jpeg), alt: `Frame ${number + 1} of ${pictures.length}`,
    })));
    const box = make("div", { className: similarity ? "over-time" : "" });
    if (pictures.length) box.append(reel);
    else box.append(text("p", "No pictures of this video.", { className: "quiet" }));
    if (similarity) box.append(...similarityOf(video, similarity));
    return [text("h3", similarity ? "Frames, and similarity over time" : "Frames"), box];
  }

  function similarityOf(video, similarity) {
    const { side: steps, rows, low, high } = similarity;
    const digits = high - low < 0.02 ? 5 : 3;
    const levels = Uint8Array.from(atob(similarity.levels), (character) => character.charCodeAt(0));
    const matrix = make("canvas", { className: "matrix", width: steps, height: steps, tabIndex: 0, role: "img" });
    matrix.setAttribute("aria-label",
      `Cosine of all pairs of ${rows} rows, from ${low} to ${high}. Arrow keys move the cursor.`);
    const image = new ImageData(steps, steps);
    levels.forEach((level, number) => image.data.set(heat(level / 255), 4 * number));
    matrix.getContext("2d").putImageData(image, 0, 0);
    const readout = text("p", "", { className: "quiet" });
    readout.setAttribute("role", "status");
    const seconds = data.seconds[video];
    const at = (step) => {
      const [first, last] = [Math.floor((step * rows) / steps), Math.floor(((step + 1) * rows) / steps) - 1];
      const name = last > first ? `rows ${first}–${last}` : `row ${first}`;
      return data.windows && seconds !== null
        ? `${name} (${((seconds * (step + 0.5)) / steps).toFixed(1)} s)` : name;
    };
    const cursor = { x: 0, y: 0 };
    const read = () => {
      const cosine = low + ((high - low) * levels[cursor.y * steps + cursor.x]) / 255;
      readout.textContent = `${at(cursor.y)} and ${at(cursor.x)}: cosine ${cosine.toFixed(digits)}`;
    };
    const clamp = (value) => Math.max(0, Math.min(steps - 1, value));
    matrix.addEventListener("pointermove", (event) => {
      cursor.x = clamp(Math.floor((event.offsetX / matrix.clientWidth) * steps));
      cursor.y = clamp(Math.floor((event.offsetY / matrix.clientHeight) * steps));
      read();
    });
    matrix.addEventListener("keydown", (event) => {
      if (!ARROWS[event.key]) return;
      event.preventDefault();
      cursor.x = clamp(cursor.x + ARROWS[event.key][0]);
      cursor.y = clamp(cursor.y + ARROWS[event.key][1]);
      read();
    });
    const what = data.windows ? "windows in order of time" : "rows in order (windows, clips or views)";
    readout.textContent = `${count(rows, "row")}: ${what}, from left to right and top to bottom; bright means similar ` +
      `(cosine ${low.toFixed(digits)} to ${high.toFixed(digits)}).`;
    const time = data.windows && seconds !== null
      ? make("div", { className: "time quiet" }, text("span", "0 s"), text("span", `${seconds} s`)) : "";
    return [matrix, time, readout];
  }
  // From dark blue over violet and orange to light yellow: brightness rises, so that the order is visible without hue.
  const STOPS = [[13, 8, 70], [110, 20, 130], [205, 70, 90], [250, 150, 50], [252, 245, 170]];
  function heat(share) {
    const place = Math.min(share * (STOPS.length - 1), STOPS.length - 1.0001);
    const [low, part] = [Math.floor(place), place % 1];
    return [...STOPS[low].map((value, channel) => value + (STOPS[low + 1][channel] - value) * part), 255];
  }

  function neighboursOf(video) {
    if (groupOf[video] < 0) return [];
    const { near, cosine } = data.groups[groupOf[video]];
    const place = placeOf[video];
    if (!near[place].length) return [text("h3", "Nearest neighbours"), text("p", "There is no other video.")];
    const list = make("ol", { className: "videos", id: "neighbours" });
    near[place].forEach((neighbour, number) => {
      list.append(make("li", {}, videoButton(neighbour, cosine[place][number].toFixed(4))));
    });
    return [text("h3", "Nearest neighbours (cosine)"), list];
  }

  // --- the list ------------------------------------------------------------------------------------------------------
  function showList() {
    const part = by("find").value.toLowerCase();
    const list = by("list");
    list.replaceChildren();
    let matching = 0;
    for (let video = 0; video < total; video += 1) {
      if (!data.names[video].toLowerCase().includes(part)) continue;
      matching += 1;
      if (matching > MOST_LISTED) continue;
      const note = failureOf.has(video) ? "failed" : groupOf[video] < 0 ? "no features" : "";
      list.append(make("li", {}, videoButton(video, note)));
    }
    const more = matching > MOST_LISTED ? `; the first ${MOST_LISTED} are listed` : "";
    by("found").textContent = `${count(matching, "video")}${more}`;
  }
  by("find").addEventListener("input", showList);

  // --- statistics ----------------------------------------------------------------------------------------------------
  function listing(summary, ...children) {
    const details = make("details", {}, text("summary", summary));
    // Filled when opened: thousands of entries would make the page slow.
    details.addEventListener("toggle", () => {
      if (details.open && details.children.length === 1) details.append(...children.flatMap((child) => child()));
    });
    return details;
  }
  function groupsOf(groups) {
    return groups.map((members) => {
      const shown = members.slice(0, 20);
      const paragraph = make("p", {}, `${members.length}: `);
      shown.forEach((video, number) => paragraph.append(number ? ", " : "", link(video)));
      if (members.length > shown.length) paragraph.append(` and ${members.length - shown.length} more`);
      return paragraph;
    });
  }

  function showStatistics() {
    const body = by("statistics-body");
    body.replaceChildren();
    if (group()) {
      const of = group();
      if (data.groups.length > 1) body.append(text("p", `Of the features of size ${of.size}:`));
      body.append(text("h3", "Norms"), histogram(of), text("h3", "Checks"));
      const collapsed = of.meanCosine !== null && of.meanCosine > 0.98
        ? ": the network hardly distinguishes the videos" : "";
      if (of.meanCosine !== null) body.append(text("p", `Mean cosine of two videos: ${of.meanCosine}${collapsed}.`));
      body.append(
        of.equalCount
          ? listing(`Duplicates: ${count(of.equalCount, "video")} have exactly the same features as another`,
            () => groupsOf(of.equal))
          : text("p", "No duplicates: no two videos have the same features."),
        of.alikeCount
          ? listing(`Near-duplicates: ${count(of.alikeCount, "video")} have a cosine of at least ${data.nearDuplicate} to another`,
            () => groupsOf(of.alike))
          : text("p", `No near-duplicates (cosine of at least ${data.nearDuplicate}).`),
        of.deadCount
          ? listing(`Dead dimensions: ${of.deadCount} of ${of.size} have the same value in all videos`,
            () => [text("p", of.dead.join(", ") + (of.deadCount > of.dead.length ? ", ..." : ""))])
          : text("p", of.members.length > 1 ? `No dead dimensions among ${of.size}.` : "One video only: no comparison."),
      );
      if (of.zero.length) body.append(listing(`${count(of.zero.length, "video")} whose features are all zero`,
        () => groupsOf([of.zero])));
    }
    body.append(data.notFinite.length
      ? listing(`Infinite values or NaN in ${count(data.notFinite.length, "video")}`,
        () => data.notFinite.slice(0, 200).map(([video, values]) => make("p", {}, link(video), `: ${count(values, "value")}`)))
      : text("p", "No infinite values, no NaN."));
  }

  function histogram({ histogram: { counts, edges }, norms }) {
    const [width, height, base] = [420, 130, 108];
    const svg = (tag, attributes, content) => {
      const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
      for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
      if (content !== undefined) element.textContent = content;
      return element;
    };
    const sorted = [...norms].sort((a, b) => a - b);
    const median = sorted[Math.floor(sorted.length / 2)];
    const words = `from ${sorted[0]} to ${sorted[sorted.length - 1]}, median ${median}`;
    const chart = svg("svg", { viewBox: `0 0 ${width} ${height}`, width: "100%", role: "img", "aria-label": `Norms ${words}` });
    const most = Math.max(...counts, 1);
    counts.forEach((number, bin) => {
      const tall = (number / most) * (base - 8);
      const bar = svg("rect", { x: (bin * width) / counts.length + 1, y: base - tall, width: width / counts.length - 2, height: tall });
      bar.append(svg("title", {}, `${edges[bin]} to ${edges[bin + 1]}: ${number}`));
      chart.append(bar);
    });
    chart.append(svg("line", { x1: 0, x2: width, y1: base, y2: base }));
    chart.append(svg("text", { x: 0, y: height - 6 }, edges[0]));
    chart.append(svg("text", { x: width, y: height - 6, "text-anchor": "end" }, edges[edges.length - 1]));
    return make("div", {}, chart, text("p", `Euclidean norms ${words}.`, { className: "quiet" }));
  }

  // --- failures and origin -------------------------------------------------------------------------------------------
  function table(heads, rows) {
    const limit = 500;
    const body = make("tbody", {}, ...rows.slice(0, limit).map((cells) =>
      make("tr", {}, ...cells.map((cell) => (cell instanceof Node ? make("td", {}, cell) : text("td", cell))))));
    const head = make("thead", {}, make("tr", {}, ...heads.map((name) => text("th", name, { scope: "col" }))));
    const whole = make("div", {}, make("table", {}, head, body));
    if (rows.length > limit) whole.append(text("p", `and ${rows.length - limit} more`, { className: "quiet" }));
    return whole;
  }
  function showFailures() {
    const body = by("failures-body");
    if (!data.failed.length && !data.problems.length) return body.append(text("p", "None."));
    if (data.failed.length) {
      body.append(text("h3", `Failed: ${data.failed.length}`), table(["video", "stage", "kind", "message"],
        data.failed.map(([video, stage, kind, message]) => [link(video), stage, kind, message])));
    }
    if (data.problems.length) {
      body.append(text("h3", `Without usable features: ${data.problems.length}`), table(["video", "reason"],
        data.problems.map(([video, why]) => [link(video), why])));
    }
  }

  const STATES = { finished: "finished", unfinished: "not finished", foreign: "without a manifest" };
  document.title = `${data.title}: features`;
  by("title").textContent = data.title;
  const shown = data.groups.reduce((sum, { members }) => sum + members.length, 0);
  by("overview").textContent = [
    `${count(total, "video")}, ${STATES[data.state]}`, `${shown.toLocaleString("en")} with features`,
    `${data.failed.length.toLocaleString("en")} failed`,
    data.groups.length === 1 ? `feature size ${data.groups[0].size}` : null,
  ].filter((part) => part).join(" · ");
  by("notes").hidden = !data.notes.length;
  by("notes").append(...data.notes.map((note) => text("li", note)));
  for (const [name, value] of data.facts) by("facts").append(text("dt", name), text("dd", value));
  fillChoice("colour", data.columns.map(({ name }) => name), (number) => {
    Object.assign(state, { column: number, isolated: -1 });
    showLegend();
    showAgreement();
    redraw();
  });
  fillChoice("size", data.groups.map(({ size, members }) => `${size} (${count(members.length, "video")})`), showGroup);
  showFailures();
  showLegend();
  showGroup(0);
  showList();
  canvas.dataset.ready = "yes";
})();
