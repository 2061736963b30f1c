"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const view = $("view"), stage = $("stage"), marker = $("mark");
  const NODATA = 255, STEPS = 250;
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const curves = data.curves.map((tile) => ({ ...tile, values: bytes(tile.values) }));
  const shown = new Set(data.classes.map((_, index) => index));
  // The page shows the map with north on top; its file may have rows and columns in another order.
  const { transpose, flip_rows: flipRows, flip_columns: flipColumns } = data.orientation;
  const flip = (row, column) => [flipRows ? data.rows - 1 - row : row, flipColumns ? data.columns - 1 - column : column];
  const toFile = (row, column) => { const place = flip(row, column); return transpose ? place.reverse() : place; };
  const toPage = (row, column) => (transpose ? flip(column, row) : flip(row, column));
  let zoom = 1, left = 0, top = 0, fit = 1, at = null;

  // Pictures: the gray value of a pixel is its label or confidence; it is read from a canvas and colored.
  const pictures = {};
  const load = (name) => new Promise((done) => {
    const source = $(name + "-png");
    if (!source) return done();
    const image = new Image();
    image.onload = () => {
      const canvas = document.createElement("canvas");
      canvas.width = image.width; canvas.height = image.height;
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.drawImage(image, 0, 0);
      const colors = context.getImageData(0, 0, image.width, image.height).data;
      const values = new Uint8Array(image.width * image.height);
      for (let i = 0; i < values.length; i++) values[i] = colors[4 * i];
      pictures[name] = { width: image.width, height: image.height, values };
      done();
    };
    image.src = source.textContent;
  });
  const paint = (name, table) => {
    const { width, height, values } = pictures[name], canvas = $(name);
    canvas.width = width; canvas.height = height;
    const context = canvas.getContext("2d"), picture = context.createImageData(width, height);
    const pixels = new Uint32Array(picture.data.buffer);
    for (let i = 0; i < values.length; i++) pixels[i] = table[values[i]];
    context.putImageData(picture, 0, 0);
  };
  const packed = (red, green, blue) => ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
  const paintClasses = () => {
    const table = new Uint32Array(256);
    data.classes.forEach(({ color }, index) => {
      const value = parseInt(color.slice(1), 16);
      if (shown.has(index)) table[index] = packed(value >> 16, (value >> 8) & 255, value & 255);
    });
    paint("classes", table);
  };
  const paintConfidence = () => {
    if (!pictures.confidence) return;
    const ends = [[122, 24, 60], [244, 190, 90], [24, 116, 90]], table = new Uint32Array(256);
    for (let value = 0; value <= STEPS; value++) {
      const position = (2 * value) / STEPS, index = Math.min(Math.floor(position), 1), low = ends[index], high = ends[index + 1];
      const share = position - index;
      table[value] = packed(...low.map((from, k) => Math.round(from + share * (high[k] - from))));
    }
    paint("confidence", table);
  };

  // View: the stage has the size of the map in pixels, and everything on it is stretched to that size.
  const layout = () => {
    stage.style.width = data.columns + "px"; stage.style.height = data.rows + "px";
    stage.style.transform = `translate(${left}px, ${top}px) scale(${zoom})`;
    stage.classList.toggle("near", zoom * (data.columns / pictures.classes.width) >= 2);
    marker.hidden = !at;
    if (at) { marker.style.left = left + zoom * at.column + "px"; marker.style.top = top + zoom * at.row + "px"; }
    const meters = niceLength(90 * data.meters / zoom);
    const ruler = $("ruler");
    ruler.firstElementChild.style.width = (meters * zoom) / data.meters + "px";
    ruler.lastChild.nodeType === 3 ? (ruler.lastChild.data = lengthText(meters)) : ruler.append(lengthText(meters));
  };
  const niceLength = (most) => {
    const ten = 10 ** Math.floor(Math.log10(most));
    return (most >= 5 * ten ? 5 : most >= 2 * ten ? 2 : 1) * ten;
  };
  const lengthText = (meters) => (meters >= 1000 ? `${meters / 1000} km` : `${+meters.toPrecision(3)} m`);
  const showAll = () => {
    fit = Math.min(view.clientWidth / data.columns, view.clientHeight / data.rows);
    zoom = fit;
    left = (view.clientWidth - zoom * data.columns) / 2; top = (view.clientHeight - zoom * data.rows) / 2;
    layout();
  };
  const zoomBy = (factor, x = view.clientWidth / 2, y = view.clientHeight / 2) => {
    const next = Math.min(Math.max(zoom * factor, 0.5 * fit), Math.max(60, fit));
    left = x - (x - left) * (next / zoom); top = y - (y - top) * (next / zoom);
    zoom = next;
    layout();
  };
  const keepInView = () => {
    const x = left + zoom * at.column, y = top + zoom * at.row;
    left += Math.max(30 - x, 0) - Math.max(x - view.clientWidth + 30, 0);
    top += Math.max(30 - y, 0) - Math.max(y - view.clientHeight + 30, 0);
  };

  // Values at the selected pixel.
  const valueAt = (name) => {
    const picture = pictures[name];
    if (!picture) return NODATA;
    const row = Math.min(Math.floor((at.row / data.rows) * picture.height), picture.height - 1);
    const column = Math.min(Math.floor((at.column / data.columns) * picture.width), picture.width - 1);
    return picture.values[row * picture.width + column];
  };
  const coordinates = () => {
    const { nodes, longitude, latitude } = data.lattice;
    const y = (at.row / data.rows) * (nodes - 1), x = (at.column / data.columns) * (nodes - 1);
    const i = Math.min(Math.floor(y), nodes - 2), j = Math.min(Math.floor(x), nodes - 2);
    const between = (values) => {
      const [a, b, c, d] = [values[i * nodes + j], values[i * nodes + j + 1], values[(i + 1) * nodes + j], values[(i + 1) * nodes + j + 1]];
      return (a + (b - a) * (x - j)) * (1 - y + i) + (c + (d - c) * (x - j)) * (y - i);
    };
    return [((between(longitude) + 540) % 360) - 180, between(latitude)];
  };
  const nearestCurve = () => {
    let best = null;
    for (const tile of curves) {
      const row = Math.round((at.row - tile.row) / tile.step), column = Math.round((at.column - tile.column) / tile.step);
      const i = Math.min(Math.max(row, 0), tile.rows - 1), j = Math.min(Math.max(column, 0), tile.columns - 1);
      const away = Math.hypot(tile.row + i * tile.step - at.row, tile.column + j * tile.step - at.column);
      const points = tile.days.map((day, k) => [day, tile.values[(k * tile.rows + i) * tile.columns + j]]).filter(([, value]) => value !== NODATA);
      if (away <= 1.5 * tile.step && points.length && (!best || away < best.away - 1e-9)) best = { tile, points, away };
    }
    return best;
  };
  const line = (text, style = "") => {
    const paragraph = document.createElement("p");
    paragraph.textContent = text;
    if (style) paragraph.className = style;
    return paragraph;
  };
  const showDetails = () => {
    const index = valueAt("classes"), confidence = valueAt("confidence"), [longitude, latitude] = coordinates();
    const [row, column] = toFile(Math.floor(at.row), Math.floor(at.column));
    const lines = [line(index === NODATA || !data.classes[index] ? "no data" : data.classes[index].name, "crop")];
    if (confidence !== NODATA) lines.push(line(`confidence ${Math.round((100 * confidence) / STEPS)} %`));
    lines.push(line(`longitude ${longitude.toFixed(5)}, latitude ${latitude.toFixed(5)}; row ${row}, column ${column}`, "note"));
    $("place").replaceChildren(...lines);
    draw(nearestCurve());
  };
  const select = (row, column, follow = false) => {
    at = { row: Math.min(Math.max(row, 0), data.rows - 1e-6), column: Math.min(Math.max(column, 0), data.columns - 1e-6) };
    if (follow) keepInView();
    layout();
    showDetails();
    history.replaceState(null, "", `#at=${toFile(Math.floor(at.row), Math.floor(at.column))}`);
  };

  // The time series of the nearest point.
  const svg = (name, attributes, text = "") => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text) node.textContent = text;
    return node;
  };
  const draw = (found) => {
    $("chart").hidden = !found;
    if (!found) {
      if (curves.length) $("place").append(line("no clear date at the nearest points", "note"));
      return;
    }
    const { tile, points, away } = found, days = tile.days.map(Date.parse);
    const values = points.map(([day, value]) => [day, tile.low + (value * (tile.high - tile.low)) / STEPS]);
    const first = days[0], span = Math.max(days[days.length - 1] - first, 864e5);
    const low = Math.min(tile.low, 0), x = (day) => 34 + (296 * (Date.parse(day) - first)) / span;
    const y = (value) => 160 - (148 * (value - low)) / (tile.high - low);
    const chart = $("chart").querySelector("svg"), nodes = [];
    for (let tick = Math.ceil(low / 0.2) * 0.2; tick <= tile.high + 1e-9; tick += 0.2) {
      nodes.push(svg("line", { class: "grid", x1: 34, x2: 330, y1: y(tick), y2: y(tick) }), svg("text", { x: 28, y: y(tick) + 4, "text-anchor": "end" }, Math.abs(tick).toFixed(1) === "0.0" ? "0" : tick.toFixed(1)));
    }
    const start = new Date(first), months = span / 2629e6, every = months > 30 ? 12 : months > 14 ? 3 : months > 6 ? 2 : 1;
    for (let k = start.getUTCMonth() + 1; ; k++) {
      const month = new Date(Date.UTC(start.getUTCFullYear(), k, 1));
      if (+month > first + span) break;
      const day = month.toISOString().slice(0, 10);
      if (month.getUTCMonth() % every || x(day) > 318) continue;
      const name = month.toLocaleDateString("en", { month: "short", timeZone: "UTC" });
      nodes.push(svg("line", { class: "grid", x1: x(day), x2: x(day), y1: 160, y2: 165 }), svg("text", { x: x(day), y: 180, "text-anchor": "middle" }, every === 12 || !month.getUTCMonth() ? month.getUTCFullYear() : name));
    }
    nodes.push(svg("path", { class: "curve", d: values.map(([day, value], k) => `${k ? "L" : "M"}${x(day).toFixed(1)} ${y(value).toFixed(1)}`).join("") }));
    for (const [day, value] of values) {
      const dot = svg("circle", { class: "dot", cx: x(day), cy: y(value), r: 3.5 });
      dot.append(svg("title", {}, `${day}: ${value.toFixed(2)}`));
      nodes.push(dot);
    }
    chart.replaceChildren(...nodes);
    $("chart-name").textContent = tile.name;
    $("chart-where").textContent = `${away < 1 ? "this pixel" : "pixel at a distance of " + lengthText(Math.round(away * data.meters))}, ${values.length} of ${tile.days.length} dates clear, ${tile.days[0]} to ${tile.days[tile.days.length - 1]}`;
  };

  // One pointer drags or clicks, two pointers pinch.
  const pointers = new Map();
  let moved = 0;
  const inView = (event) => { const box = view.getBoundingClientRect(); return [event.clientX - box.left - view.clientLeft, event.clientY - box.top - view.clientTop]; };
  view.addEventListener("pointerdown", (event) => {
    if (event.target.closest("button") || event.button > 0) return;
    view.setPointerCapture(event.pointerId);
    if (!pointers.size) moved = 0;
    pointers.set(event.pointerId, inView(event));
  });
  view.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const now = inView(event), others = [...pointers].filter(([id]) => id !== event.pointerId).map(([, point]) => point);
    if (others.length) {
      const distance = (point) => Math.hypot(point[0] - others[0][0], point[1] - others[0][1]) || 1;
      moved = 99;
      zoomBy(distance(now) / distance(before), (now[0] + others[0][0]) / 2, (now[1] + others[0][1]) / 2);
    } else {
      moved += Math.hypot(now[0] - before[0], now[1] - before[1]);
      if (moved > 4) { left += now[0] - before[0]; top += now[1] - before[1]; layout(); }
    }
    pointers.set(event.pointerId, now);
  });
  const up = (event) => {
    if (!pointers.delete(event.pointerId) || pointers.size || moved > 4 || event.type === "pointercancel") return;
    const [x, y] = inView(event), row = (y - top) / zoom, column = (x - left) / zoom;
    if (row >= 0 && column >= 0 && row < data.rows && column < data.columns) select(row, column);
  };
  view.addEventListener("pointerup", up);
  view.addEventListener("pointercancel", up);
  view.addEventListener("wheel", (event) => { event.preventDefault(); zoomBy(Math.exp(-event.deltaY * 0.0015), ...inView(event)); }, { passive: false });
  view.addEventListener("keydown", (event) => {
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (moves) {
      const step = (event.shiftKey ? 10 : 1) * Math.max(1, Math.round(data.columns / pictures.classes.width));
      if (at) select(Math.floor(at.row) + 0.5 + step * moves[0], Math.floor(at.column) + 0.5 + step * moves[1], true);
      else select(data.rows / 2, data.columns / 2, true);
    } else if (event.key === "+" || event.key === "=") zoomBy(1.5);
    else if (event.key === "-") zoomBy(1 / 1.5);
    else if (event.key === "0") showAll();
    else return;
    event.preventDefault();
  });

  // Controls.
  const layers = () => {
    const chosen = document.querySelector("input[name=layer]:checked").value;
    for (const canvas of document.querySelectorAll("canvas.layer")) { canvas.hidden = canvas.id !== chosen; canvas.style.opacity = $("opacity").value; }
    $("ramp").hidden = chosen !== "confidence";
  };
  document.querySelectorAll("input[name=layer]").forEach((input) => input.addEventListener("change", layers));
  $("opacity").addEventListener("input", layers);
  $("in").addEventListener("click", () => zoomBy(1.5));
  $("out").addEventListener("click", () => zoomBy(1 / 1.5));
  $("all").addEventListener("click", showAll);
  const boxes = [...document.querySelectorAll("[data-class]")];
  const tick = (box) => shown[box.checked ? "add" : "delete"](+box.dataset.class);
  boxes.forEach((box) => box.addEventListener("change", () => { tick(box); paintClasses(); }));
  const tickAll = (on) => { boxes.forEach((box) => { box.checked = on; tick(box); }); paintClasses(); };
  $("tick-all").addEventListener("click", () => tickAll(true));
  $("tick-none").addEventListener("click", () => tickAll(false));

  Promise.all([load("classes"), load("confidence")]).then(() => {
    paintClasses(); paintConfidence(); layers(); showAll();
    const requested = /^#at=(\d+),(\d+)$/.exec(location.hash);
    if (requested) select(...toPage(+requested[1], +requested[2]).map((place) => place + 0.5));
    new ResizeObserver(() => (Math.abs(zoom - fit) < 1e-9 ? showAll() : layout())).observe(view);
    document.documentElement.dataset.ready = "yes";
  });
})();
