// What pointers and keys do on the map.
function hover(event) {
  const card = $("hover"), box = $("map").getBoundingClientRect();
  const i = main.nearest(event.clientX - box.left, event.clientY - box.top, layers);
  if (i === hovered && !card.hidden) return place(event);
  hovered = i;
  card.hidden = i < 0;
  if (i < 0) return;
  const rows = ["cell_type", "sample", "cluster", "cell_type_score", "cell_type_set", "cell_type_second", "cell_type_doubt", "dice_uncertainty", "cell_type_p_reference", "truth"];
  const list = el("dl", { class: "values" });
  if (cellNames) list.append(el("dt", {}, "cell"), el("dd", { class: "barcode" }, cellNames[i]));
  for (const name of rows) {
    const value = text(name, i);
    if (value) list.append(el("dt", {}, columns.get(name).title), el("dd", {}, wordOf(columns.get(name), value)));
  }
  if (genes.has(state.color)) {
    const gene = state.color;
    loadGene(gene).then((packed) => list.prepend(el("dt", {}, gene), el("dd", {}, geneValue(genes.get(gene), geneLevel(packed, i)).toFixed(2))));
  }
  card.replaceChildren(list);
  place(event);
}

function place(event) {
  const card = $("hover"), box = $("map").getBoundingClientRect();
  const x = event.clientX - box.left, y = event.clientY - box.top;
  card.style.left = `${x + 18 + card.offsetWidth > box.width ? Math.max(0, x - 18 - card.offsetWidth) : x + 18}px`;
  card.style.top = `${Math.max(0, Math.min(y + 12, box.height - card.offsetHeight))}px`;
}

const pointers = new Map();
let moved = 0;

function pointerDown(event) {
  pointers.set(event.pointerId, [event.clientX, event.clientY]);
  $("map").setPointerCapture(event.pointerId);
  moved = 0;
  if (event.shiftKey || state.lasso) main.line = [main.toData(...local(event))];
}

const local = (event) => {
  const box = $("map").getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
};

function pointerMove(event) {
  const before = pointers.get(event.pointerId);
  if (!before) return hover(event);
  const dx = event.clientX - before[0], dy = event.clientY - before[1];
  moved += Math.abs(dx) + Math.abs(dy);
  $("hover").hidden = true;
  if (pointers.size === 2) {
    const [a, b] = [...pointers.keys()].map((id) => pointers.get(id));
    const apart = Math.hypot(a[0] - b[0], a[1] - b[1]);
    pointers.set(event.pointerId, [event.clientX, event.clientY]);
    const [c, d] = [...pointers.values()];
    const box = $("map").getBoundingClientRect();
    main.zoomAt(Math.hypot(c[0] - d[0], c[1] - d[1]) / Math.max(apart, 1), (c[0] + d[0]) / 2 - box.left, (c[1] + d[1]) / 2 - box.top);
  } else if (main.line.length) main.line.push(main.toData(...local(event)));
  else main.move(dx, dy);
  pointers.set(event.pointerId, [event.clientX, event.clientY]);
  repaint();
}

async function pointerUp(event) {
  if (!pointers.delete(event.pointerId)) return;
  const line = main.line;
  main.line = [];
  if (line.length > 3) {
    await select([[[`@${state.map}`, cornersOf(line)]]], { add: event.shiftKey && state.selection.length > 0 && state.lasso });
  } else if (moved < 5 && event.type === "pointerup") {
    const i = main.nearest(...local(event), layers);
    if (i >= 0) await select([[["@cell", [i]]]], { add: event.shiftKey });
    else if (state.selection.length) await clear();
  } else writeAddress();
  repaint();
}

// Corners of a line in the units of the points: at most some 60, so that an address stays short.
function cornersOf(line) {
  const corners = line.flatMap(([x, y]) => [Math.round(65535 * x), Math.round(65535 * y)]);
  const every = Math.ceil(corners.length / 2 / 60), kept = [];
  for (let k = 0; k < corners.length; k += 2 * every) kept.push(corners[k], corners[k + 1]);
  return kept.length >= 6 ? kept : corners;
}

// On a map beside the large one: a click selects a cell, a line drawn around cells selects these.
function wireBeside(key, map) {
  const canvas = map.canvas, at = (event) => [event.offsetX, event.offsetY];
  const again = () => requestAnimationFrame(() => map.draw(colors, layers, theme()));
  canvas.addEventListener("pointerdown", (event) => {
    // A finger scrolls the page.
    if (event.pointerType === "touch") return;
    canvas.setPointerCapture(event.pointerId);
    map.line = [map.toData(...at(event))];
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!map.line.length) return;
    map.line.push(map.toData(...at(event)));
    again();
  });
  canvas.addEventListener("pointerup", async (event) => {
    const line = map.line, corners = cornersOf(line), add = { add: event.shiftKey };
    map.line = [];
    if (line.length > 3) await select([[[`@${key}`, corners]]], add);
    else {
      const i = map.nearest(...at(event), layers);
      if (i >= 0) await select([[["@cell", [i]]]], add);
    }
    again();
  });
  canvas.addEventListener("pointercancel", () => { map.line = []; again(); });
}

function setLasso(on) {
  state.lasso = on;
  $("lasso").setAttribute("aria-pressed", String(on));
  $("map").classList.toggle("lasso", on);
}

function zoom(factor) {
  main.zoomAt(factor);
  repaint();
  writeAddress();
}

function mapKey(event) {
  const step = 40, moves = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (moves[event.key]) { main.move(...moves[event.key]); repaint(); writeAddress(); }
  else if (event.key === "+" || event.key === "=") zoom(1.3);
  else if (event.key === "-") zoom(1 / 1.3);
  else if (event.key === "0") { main.fit(); repaint(); writeAddress(); }
  else if (event.key === "Enter" || event.key === " ") {
    const canvas = $("map");
    const i = main.nearest(canvas.clientWidth / 2, canvas.clientHeight / 2, layers, 1e6);
    if (i >= 0) select([[["@cell", [i]]]]);
  } else return;
  event.preventDefault();
}

