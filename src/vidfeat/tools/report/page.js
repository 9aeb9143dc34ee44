"use strict";
// All text that comes from the data is set as text, never as markup.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const by = (id) => document.getElementById(id);
  const PALETTE = ["#3b7dd8", "#e0851b", "#2a9d5c", "#d14b7f", "#8a63d2", "#1fa3b5", "#b5651d", "#7f8c2a"];
  const UNKNOWN = "(none)";
  const MOST_LISTED = 100;
  const MOST_CHIPS = 60;
  const NEAREST = 8;
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
  function svg(tag, attributes, ...children) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }
  const text = (tag, content, properties) => make(tag, { ...properties, textContent: content });
  const count = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
  const percent = (share) => `${(100 * share).toFixed(1)}%`;
  // A name that is too long for its line breaks behind a separator.
  const named = (name) => name.split(/(?<=[/_.-])/).flatMap((part) => [part, make("wbr")]);

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
  const unpictured = new Map(data.unpictured.flatMap(([why, videos]) => videos.map((video) => [video, why])));

  const narrow = matchMedia("(max-width: 860px)");
  const state = { group: 0, column: 0, isolated: -1, selected: -1, current: -1, query: -1, scale: 1, dx: 0, dy: 0 };
  const group = () => data.groups[state.group];
  const column = () => data.columns[state.column];
  const picturesOf = (video) => data.pictures[video] || [];
  const source = ([, webp]) => `data:image/webp;base64,${webp}`;
  const image = (picture, alt = "") => (picture ? make("img", { src: source(picture), alt }) : null);
  const middle = (video) => picturesOf(video)[Math.floor(picturesOf(video).length / 2)];

  function colourOfValue(value) {
    const { values } = column();
    const style = getComputedStyle(document.documentElement);
    if (values[value] === UNKNOWN) return style.getPropertyValue("--point-none");
    if (value < PALETTE.length) return PALETTE[value];
    // Hues repeat with many values: lightness separates those that are close.
    const tone = style.getPropertyValue(Math.floor(value / PALETTE.length) % 2 ? "--tone-strong" : "--tone-soft");
    return `hsl(${(value * 137.508) % 360} ${tone})`;
  }

  // Labels differ in shape, too: eight outlines of about one area, filled, then hollow.
  const corners = (count, turn, radii) => Array.from({ length: count }, (_, number) => {
    const angle = 2 * Math.PI * (number / count + turn);
    const radius = radii[number % radii.length];
    return [radius * Math.sin(angle), -radius * Math.cos(angle)];
  });
  const cross = (turn) => [[-1, 1], [1, 1], [1, -1], [-1, -1]].flatMap(([x, y], number) => {
    const arm = [[0.36, 1.2], [-0.36, 1.2], [-0.36, 0.36]];
    return arm.map(([across, along]) => {
      const angle = Math.PI / 2 * number + turn;
      return [across * Math.cos(angle) - along * Math.sin(angle), across * Math.sin(angle) + along * Math.cos(angle)];
    });
  });
  const SHAPES = [
    corners(16, 0, [1]), corners(4, 1 / 8, [1.25]), corners(3, 0, [1.4]), corners(4, 0, [1.35]), cross(0),
    corners(3, 1 / 2, [1.4]), cross(Math.PI / 4), corners(10, 0, [1.5, 0.62]),
  ];
  const shapeOf = (value) => SHAPES[value % SHAPES.length];
  const isHollow = (value) => Math.floor(value / SHAPES.length) % 2 === 1;
  function markOf(value) {
    const outline = shapeOf(value).map((corner) => corner.map((at) => at.toFixed(2)).join()).join(" ");
    const colour = colourOfValue(value);
    return svg("svg", { class: "mark", viewBox: "-1.6 -1.6 3.2 3.2", "aria-hidden": "true" },
      svg("polygon", { points: outline, stroke: colour, "stroke-width": 0.45, fill: isHollow(value) ? "none" : colour }));
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
    return members.length > 4000 ? 2.6 : members.length > 800 ? 3.6 : 5;
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
      brush.fillStyle = brush.strokeStyle = column() ? colourOfValue(value) : PALETTE[0];
      brush.globalAlpha = state.isolated < 0 || state.isolated === value ? 0.85 : 0.08;
      brush.lineWidth = radius / 2.5;
      brush.beginPath();
      for (const place of chosen) {
        const [x, y] = onScreen(place);
        shapeOf(value).forEach(([dx, dy], corner) => {
          if (corner) brush.lineTo(x + radius * dx, y + radius * dy);
          else brush.moveTo(x + radius * dx, y + radius * dy);
        });
        brush.closePath();
        drawn += 1;
      }
      if (!isHollow(value)) brush.fill("nonzero");
      brush.stroke();
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
      const label = column() ? `${column().name}: ${column().values[column().of[video]]}` : "";
      tip.replaceChildren(
        ...[image(middle(video))].filter(Boolean),
        make("div", {}, ...named(data.names[video])), text("div", label, { className: "quiet" }),
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
    showChips(legend, values.map((value, number) => [number, `${value} (${sizes[number]})`]), "isolated", markOf, redraw);
  }

  // Buttons of which at most one is pressed; its number is kept in `state`.
  function showChips(box, entries, name, mark, change) {
    const buttons = entries.slice(0, MOST_CHIPS).map(([number, label]) => {
      const button = make("button", { type: "button", "aria-pressed": String(state[name] === number) }, mark(number), label);
      button.addEventListener("click", () => {
        state[name] = state[name] === number ? -1 : number;
        for (const other of buttons) other.setAttribute("aria-pressed", String(other === button && state[name] >= 0));
        change();
      });
      return button;
    });
    box.replaceChildren(...buttons);
    const more = entries.length - buttons.length;
    if (more > 0) box.append(text("span", `and ${more} more`, { className: "quiet" }));
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
  function videoButton(video, note, step = -1) {
    const { seconds } = step < 0 ? {} : momentOf(video, step);
    const button = make("button", { type: "button" },
      image(seconds ? nearestPicture(video, seconds) : middle(video)),
      make("span", { className: "grow" }, ...named(data.names[video]),
        step < 0 ? "" : text("div", momentName(video, step), { className: "number" })),
      note ? text("span", note, { className: "number" }) : null);
    button.dataset.video = video;
    button.dataset.step = step;
    button.addEventListener("click", () => choose(video, true, step));
    return button;
  }
  function link(video) {
    const button = make("button", { type: "button", className: "link" }, ...named(data.names[video]));
    button.addEventListener("click", () => choose(video, true));
    return button;
  }

  function choose(video, moveFocus, step = -1) {
    state.selected = video;
    canvas.dataset.selected = video;
    const body = by("detail-body");
    body.replaceChildren();
    by("back").hidden = video < 0;
    by("detail-heading").replaceChildren(...(video < 0 ? ["No video selected"] : named(data.names[video])));
    if (video < 0) {
      body.append(text("p", "Select a point on the map or a video in the list.", { className: "quiet" }));
      return redraw();
    }
    if (groupOf[video] >= 0 && groupOf[video] !== state.group) showGroup(groupOf[video]);
    if (groupOf[video] >= 0) keepInView(video);
    body.append(factsOf(video), ...(stepsOf(video) ? overTimeOf(video, step) : framesOf(video)), ...neighboursOf(video));
    tip.hidden = true;
    by("status").textContent = `Selected: ${data.names[video]}`;
    if (moveFocus || narrow.matches) {
      by("detail").focus({ preventScroll: true });
      by("detail").scrollTop = 0;
      by("detail").scrollIntoView({ block: narrow.matches ? "start" : "nearest" });
      if (step >= 0) by("moment").scrollIntoView({ block: "nearest" });
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
    const pictures = picturesOf(video);
    return [text("h3", "Frames"), pictures.length ? reelOf(pictures) : withoutPictures(video)];
  }
  function reelOf(pictures) {
    return make("div", { className: "reel" }, ...pictures.map((picture) => {
      const caption = picture[0] === null ? "" : `${picture[0].toFixed(2)} s`;
      return make("figure", {}, image(picture, caption ? `Frame at ${caption}` : "Frame"),
        text("figcaption", caption, { className: "quiet" }));
    }));
  }
  function withoutPictures(video) {
    const why = failureOf.has(video) ? "the video failed" : unpictured.get(video) || "the folder of the videos was not given";
    return text("p", `No pictures: ${why}.`, { className: "quiet" });
  }

  // --- one video over time -------------------------------------------------------------------------------------------
  // A moment is a row, or a few neighbouring rows where a page cannot hold all of them.
  function bytesOf(base64) {
    const characters = atob(base64);
    const bytes = new Uint8Array(characters.length);
    for (let place = 0; place < bytes.length; place += 1) bytes[place] = characters.charCodeAt(place);
    return bytes.buffer;
  }
  const unpacked = new Map();  // by group, when first asked for
  function momentsOf(video) {
    const number = groupOf[video];
    if (!unpacked.has(number)) {
      const { levels, along, seconds, steps, ...others } = data.groups[number].moments;
      let total = 0;
      const first = steps.map((count) => (total += count) - count);
      unpacked.set(number, withLengths({
        ...others, steps, first, levels: new Int8Array(bytesOf(levels)), along: new Float32Array(bytesOf(along)),
        seconds: new Float32Array(bytesOf(seconds)), members: data.groups[number].members,
      }));
    }
    return unpacked.get(number);
  }
  function stepsOf(video) {
    const { moments } = data.groups[groupOf[video]] || {};
    return moments ? moments.steps[placeOf[video]] : 0;
  }
  // The first and the last row of a moment, and its start and end in seconds where they are known.
  function momentOf(video, step) {
    const { rows, first, seconds } = momentsOf(video);
    const [count, steps] = [rows[placeOf[video]], stepsOf(video)];
    const place = 2 * (first[placeOf[video]] + step);
    return {
      first: Math.floor((step * count) / steps),
      last: Math.floor(((step + 1) * count) / steps) - 1,
      seconds: Number.isNaN(seconds[place]) ? null : [seconds[place], seconds[place + 1]],
    };
  }
  function momentName(video, step) {
    const { first, last, seconds } = momentOf(video, step);
    const rows = last > first ? `rows ${first} to ${last}` : `row ${first}`;
    return [seconds ? `${seconds[0].toFixed(2)} to ${seconds[1].toFixed(2)} s` : null, rows, labelsOf(video, first, last)]
      .filter((part) => part).join(", ");
  }
  // The labels of the segments that some rows stand for.
  function labelsOf(video, first, last) {
    const of = data.rowLabels.of[video] || [];
    return [...new Set(of.slice(first, last + 1))].filter((label) => label >= 0)
      .map((label) => data.rowLabels.values[label]).join(", ");
  }
  // The labels over the moments that they belong to; neighbouring moments with one label share a button.
  function labelsOverTime(video, select) {
    if (!data.rowLabels.of[video]) return "";
    const runs = [];
    for (let step = 0; step < stepsOf(video); step += 1) {
      const { first, last } = momentOf(video, step);
      const label = labelsOf(video, first, last);
      if (runs.length && runs[runs.length - 1].label === label) runs[runs.length - 1].count += 1;
      else runs.push({ label, step, count: 1 });
    }
    return make("div", { className: "labels", role: "group", "aria-label": "Labels of segments" },
      ...runs.map(({ label, step, count: moments }) => {
        const button = text("button", label || UNKNOWN, { type: "button", title: momentName(video, step) });
        button.style.flexGrow = moments;
        button.addEventListener("click", () => select(step));
        return button;
      }));
  }
  function nearestPicture(video, [start, end]) {
    const distance = ([at]) => Math.abs(at - (start + end) / 2);
    return picturesOf(video).reduce((best, one) => (best && distance(best) <= distance(one) ? best : one), null);
  }

  // The same as `cosines` of moments.py, which says what is computed.
  function withLengths(moments) {
    const { levels, along, scale, square } = moments;
    const [lengths, rests] = [new Float32Array(along.length), new Float32Array(along.length)];
    const weights = Float32Array.from(scale, (step) => step * step);
    along.forEach((product, place) => {
      let within = 0;
      const start = place * weights.length;
      for (let number = 0; number < weights.length; number += 1) within += weights[number] * levels[start + number] ** 2;
      lengths[place] = Math.sqrt(within);
      rests[place] = Math.sqrt(Math.max(0, 1 - 2 * product + square - within));
    });
    return { ...moments, lengths, rests };
  }
  function cosinesWith({ levels, along, scale, square, lengths, rests }, place) {
    const size = scale.length;
    const weights = Float32Array.from(scale, (step, number) => step * step * levels[place * size + number]);
    return along.map((product, other) => {
      let within = 0;
      const start = other * size;
      for (let number = 0; number < size; number += 1) within += weights[number] * levels[start + number];
      const alike = Math.max(0, within / Math.max(1e-12, lengths[place] * lengths[other]));
      const cosine = along[place] + product - square + within + rests[place] * rests[other] * alike ** 4;
      return Math.max(-1, Math.min(1, cosine));
    });
  }
  // With the digits that hold; never "-0.00".
  function cosineText({ error }, cosine) {
    const digits = Math.min(5, Math.max(2, Math.round(-Math.log10(error))));
    return Number(cosine.toFixed(digits)).toFixed(digits);
  }
  // The moments nearest to one, of all videos; of neighbouring moments only the nearest.
  function nearestMoments(video, step) {
    const moments = momentsOf(video);
    const { members, steps, first } = moments;
    const own = first[placeOf[video]] + step;
    const cosines = cosinesWith(moments, own);
    const best = [];
    members.forEach((member, number) => {
      const end = first[number] + steps[number];
      for (let place = first[number]; place < end; place += 1) {
        const cosine = cosines[place];
        if (place === own || (best.length === NEAREST && cosine <= best[NEAREST - 1].cosine)) continue;
        if (place > first[number] && cosines[place - 1] >= cosine) continue;
        if (place + 1 < end && cosines[place + 1] > cosine) continue;
        best.push({ video: member, step: place - first[number], cosine });
        best.sort((a, b) => b.cosine - a.cosine);
        best.length = Math.min(best.length, NEAREST);
      }
    });
    return best;
  }
  // The cosines of all pairs of moments of a video; mean cosines of neighbouring moments where there are more than `most`.
  function selfSimilarity(video, most) {
    const { levels, along, scale, square, first } = momentsOf(video);
    const [start, steps, size] = [first[placeOf[video]], stepsOf(video), scale.length];
    const side = Math.min(steps, most);
    const cellOf = (step) => Math.floor((step * side) / steps);
    const cells = { scale, square, levels: new Float32Array(side * size), along: new Float32Array(side) };
    const counts = new Float32Array(side);
    for (let step = 0; step < steps; step += 1) counts[cellOf(step)] += 1;
    for (let step = 0; step < steps; step += 1) {
      const cell = cellOf(step);
      cells.along[cell] += along[start + step] / counts[cell];
      for (let number = 0; number < size; number += 1) {
        cells.levels[cell * size + number] += levels[(start + step) * size + number] / counts[cell];
      }
    }
    const cosines = new Float32Array(side * side);
    const complete = withLengths(cells);
    for (let cell = 0; cell < side; cell += 1) cosines.set(cosinesWith(complete, cell), cell * side);
    return { side, cosines };
  }

  function overTimeOf(video, chosen) {
    const steps = stepsOf(video);
    const { side, cosines } = selfSimilarity(video, 320);
    const low = cosines.reduce((least, cosine) => Math.min(least, cosine), 1);
    const high = cosines.reduce((most, cosine) => Math.max(most, cosine), -1);
    const inText = (cosine) => cosineText(momentsOf(video), cosine);
    const matrix = make("canvas", { className: "matrix", width: side, height: side, tabIndex: 0, role: "img" });
    matrix.setAttribute("aria-label", `Cosine of all pairs of ${count(steps, "moment")}, from ${inText(low)} to ` +
      `${inText(high)}. Arrow keys move the cursor, Enter selects the moment of its column.`);
    const pixels = new ImageData(side, side);
    cosines.forEach((cosine, place) => pixels.data.set(heat(high > low ? (cosine - low) / (high - low) : 0), 4 * place));
    matrix.getContext("2d").putImageData(pixels, 0, 0);

    const [across, down] = ["across", "down"].map((className) => make("div", { className }));
    const pair = make("div", { className: "pair quiet", role: "status" },
      `${count(steps, "moment")} in order of rows, from left to right and top to bottom; bright means similar (cosine ` +
      `${inText(low)} to ${inText(high)}). Click a moment, or a frame, or move the slider.`);
    const cursor = { x: 0, y: 0 };
    const stepAt = (cell) => Math.min(steps - 1, Math.floor(((cell + 0.5) * steps) / side));
    const pictureAt = (cell) => {
      const { seconds } = momentOf(video, stepAt(cell));
      return image(seconds && nearestPicture(video, seconds));
    };
    const read = (x, y) => {
      const clamp = (cell) => Math.max(0, Math.min(side - 1, Math.floor(cell)));
      [cursor.x, cursor.y] = [clamp(x), clamp(y)];
      across.style.top = `${((cursor.y + 0.5) / side) * 100}%`;
      down.style.left = `${((cursor.x + 0.5) / side) * 100}%`;
      const cosine = inText(cosines[cursor.y * side + cursor.x]);
      const cells = cursor.x === cursor.y ? [cursor.x] : [cursor.y, cursor.x];
      const names = cells.map((cell) => momentName(video, stepAt(cell))).join(" and ");
      pair.replaceChildren(...cells.map(pictureAt).filter(Boolean),
        text("span", cells.length > 1 ? `${names}: cosine ${cosine}` : names));
    };
    const readAt = ({ offsetX, offsetY }) => {
      read((offsetX / matrix.clientWidth) * side, (offsetY / matrix.clientHeight) * side);
    };
    matrix.addEventListener("pointermove", readAt);
    matrix.addEventListener("click", (event) => {
      readAt(event);  // a finger does not move there first
      select(stepAt(cursor.x));
    });
    matrix.addEventListener("keydown", (event) => {
      if (ARROWS[event.key]) read(cursor.x + ARROWS[event.key][0], cursor.y + ARROWS[event.key][1]);
      else if (event.key === "Enter") select(stepAt(cursor.x));
      else return;
      event.preventDefault();
    });

    const slider = make("input", { type: "range", min: 0, max: steps - 1, value: 0, "aria-label": "Moment" });
    slider.addEventListener("input", () => select(Number(slider.value)));
    const moment = make("div", { id: "moment" });
    const select = (step) => {
      slider.value = step;
      slider.setAttribute("aria-valuetext", momentName(video, step));
      read(((step + 0.5) / steps) * side, ((step + 0.5) / steps) * side);
      moment.replaceChildren(...momentCard(video, step));
    };
    const square = make("div", { className: "square" }, matrix, across, down);
    across.style.top = down.style.left = "-9px";
    const box = make("div", { className: "over-time" }, ...timeAxis(video, select), slider, square, pair);
    if (chosen >= 0) select(chosen);
    return [text("h3", "Over time"), box, moment];
  }

  // Frames over the moments that they are nearest to, and the times of the axis.
  function timeAxis(video, select) {
    const [steps, pictures] = [stepsOf(video), picturesOf(video)];
    const slots = Math.min(8, steps, pictures.length);
    const frames = Array.from({ length: slots }, (_, slot) => {
      const share = (slot + 0.5) / slots;
      const step = Math.floor(share * steps);
      const { seconds } = momentOf(video, step);
      const shown = seconds ? nearestPicture(video, seconds) : pictures[Math.floor(share * pictures.length)];
      const button = make("button", { type: "button", title: momentName(video, step) },
        image(shown, `Frame of ${momentName(video, step)}`));
      button.addEventListener("click", () => select(step));
      return button;
    });
    const reel = slots ? make("div", { className: "reel" }, ...frames) : withoutPictures(video);
    const times = [[0, 0], [Math.floor(steps / 2), 0], [steps - 1, 1]].map(([step, end]) => {
      const { seconds, first, last } = momentOf(video, step);
      return text("span", seconds ? `${seconds[end].toFixed(1)} s` : `row ${end ? last : first}`);
    });
    return [reel, labelsOverTime(video, select), make("div", { className: "time quiet" }, ...times)];
  }

  function momentCard(video, step) {
    const { seconds, first, last } = momentOf(video, step);
    const moments = momentsOf(video);
    const inside = seconds ? picturesOf(video).filter(([at]) => at >= seconds[0] && at < seconds[1]).slice(0, 6) : [];
    const near = seconds && nearestPicture(video, seconds);
    const list = make("ol", { className: "videos", id: "near-moments" });
    for (const found of nearestMoments(video, step)) {
      list.append(make("li", {}, videoButton(found.video, cosineText(moments, found.cosine), found.step)));
    }
    const notes = [`The page has the rows in a shortened form: 99 of 100 cosines are within ${Math.max(moments.error, 0.0005).toFixed(3)}.`];
    if (last > first) notes.push("Each moment is the mean of neighbouring rows, to keep the page small.");
    if (data.shapes[video].length > 2) notes.push("Each row is the mean over the axes that the pooling kept, such as crops.");
    return [
      text("h3", `Moment: ${momentName(video, step)}`),
      inside.length ? reelOf(inside) : near ? make("div", {}, reelOf([near]),
        text("p", "The frame of the page that is nearest to the moment.", { className: "quiet" })) : "",
      text("h3", "Nearest moments of all videos (cosine)"),
      list.children.length ? list : text("p", "There is no other."),
      text("p", notes.join(" "), { className: "quiet" }),
    ];
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

  // --- the search by words -------------------------------------------------------------------------------------------
  function showQueries() {
    const part = by("part").value.toLowerCase();
    const entries = [...data.queries.entries()].filter(([, words]) => words.toLowerCase().includes(part));
    showChips(by("queries"), entries, "query", () => "", showResults);
  }
  function showResults() {
    const results = by("results");
    results.replaceChildren();
    by("matches").textContent = "";
    if (state.query < 0) return;
    for (const { found } of data.groups) {
      if (!found) continue;
      const [videos, steps, cosines] = found[state.query];
      videos.forEach((video, number) => results.append(make("li", {},
        videoButton(video, cosines[number].toFixed(4), stepsOf(video) ? steps[number] : -1))));
    }
    const moments = data.groups.some(({ found, moments }) => found && moments);
    by("matches").textContent = `The best ${count(results.children.length, moments ? "moment" : "video")} (cosine).`;
  }
  by("part").addEventListener("input", showQueries);
  by("words").hidden = !data.queries.length;
  by("back").addEventListener("click", () => {
    by("map-panel").scrollIntoView();
    canvas.focus({ preventScroll: true });
  });

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
    const sorted = [...norms].sort((a, b) => a - b);
    const centre = (sorted.length - 1) / 2;
    const median = (sorted[Math.floor(centre)] + sorted[Math.ceil(centre)]) / 2;
    const words = `from ${sorted[0]} to ${sorted[sorted.length - 1]}, median ${Number(median.toPrecision(4))}`;
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
    return make("div", { className: "chart" }, chart, text("p", `Euclidean norms ${words}.`, { className: "quiet" }));
  }

  // --- failures and origin -------------------------------------------------------------------------------------------
  function table(heads, rows) {
    const limit = 500;
    const body = make("tbody", {}, ...rows.slice(0, limit).map((cells) =>
      make("tr", {}, ...cells.map((cell) => (cell instanceof Node ? make("td", {}, cell) : text("td", cell))))));
    const head = make("thead", {}, make("tr", {}, ...heads.map((name) => text("th", name, { scope: "col" }))));
    const whole = make("div", { className: "table" }, make("table", {}, head, body));
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
  const rows = data.groups.reduce((sum, { moments }) => (moments ? moments.rows : []).reduce((a, b) => a + b, sum), 0);
  const shown = data.groups.reduce((sum, { members }) => sum + members.length, 0);
  by("overview").textContent = [
    `${count(total, "video")}, ${STATES[data.state]}`, `${shown.toLocaleString("en")} with features`,
    `${data.failed.length.toLocaleString("en")} failed`,
    rows ? `${count(rows, "row")} over time` : null,
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
  showQueries();
  canvas.dataset.ready = "yes";
})();
