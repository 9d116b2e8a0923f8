// State, the address, and what buttons, pointers and keys do.
const $ = (id) => document.getElementById(id);
const state = { color: "", map: head.maps[0].key, selection: [], name: "", queryOnly: false, least: 0, lasso: false };
const main = new CellMap($("map"));
const beside = [...document.querySelectorAll("canvas[data-map]")].map((canvas) => [canvas.dataset.map, new CellMap(canvas)]);
const layers = new Uint8Array(n), visible = new Uint8Array(n).fill(1), colors = new Uint32Array(n);
const dark = matchMedia("(prefers-color-scheme: dark)");
// What cells are coloured by at first: their type, if there are several.
const FIRST_COLOR = columns.get("cell_type").values.length > 1 ? "cell_type" : "cluster";
// `turn` and `panelTurn` tell an answer that came late from one to the latest question.
let mask = null, turn = 0, panelTurn = 0, hovered = -1;
// The column that gave the colours last: what a gene gives way to.
let lastColumn = FIRST_COLOR;

function theme() {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => pack(fromHex(style.getPropertyValue(name).trim()));
  return { paper: color("--map"), pale: color("--pale"), ink: style.getPropertyValue("--ink").trim() };
}

// ---- what is drawn
async function updateVisible() {
  const role = await loadColumn("role");
  const score = state.least > 0 && columns.has("cell_type_score") ? await loadColumn("cell_type_score") : null;
  const reference = role.values.indexOf("reference");
  for (let i = 0; i < n; i++) {
    const low = score && score.data[i] !== 255 && levelValue(score, score.data[i]) < state.least;
    visible[i] = (state.queryOnly && role.data[i] === reference) || low ? 0 : 1;
  }
}

// What gives the cells their colours: a function that fills `colors`, and returns the layer of a cell.
async function colorsOf(name) {
  const absent = pack(fromHex(dark.matches ? "#3a4552" : "#dfe3e8"));
  if (genes.has(name)) {
    const packed = await loadGene(name), gene = genes.get(name);
    return () => {
      const shades = Array.from({ length: 16 }, (_, level) => (level ? pack(ramp(gene.high ? geneValue(gene, level) / gene.high : 1, dark.matches)) : absent));
      for (let i = 0; i < n; i++) colors[i] = shades[geneLevel(packed, i)];
      return (i) => (geneLevel(packed, i) ? NORMAL : LOW);
    };
  }
  const column = await loadColumn(name), missing = none(column);
  if (!isCategory(column)) {
    return () => {
      const [low, high] = column.ends;
      for (let i = 0; i < n; i++) colors[i] = column.data[i] === missing ? absent : pack(ramp((column.data[i] - low) / (high - low), dark.matches));
      return (i) => (column.data[i] === missing ? LOW : NORMAL);
    };
  }
  return () => {
    const shades = column.colors.map((color, k) => pack(onPaper(fromHex(color), dark.matches, column.values[k])));
    const lost = column.values.indexOf(UNASSIGNED);
    for (let i = 0; i < n; i++) colors[i] = column.data[i] === missing ? absent : shades[column.data[i]];
    return (i) => (column.data[i] === missing ? LOW : column.data[i] === lost ? TOP : NORMAL);
  };
}

// What is still to be done: a later call takes over what an earlier one has not finished.
const due = { colors: true, selection: true };
let layerOf = null;

async function refresh({ recolor = true, reselect = true } = {}) {
  due.colors ||= recolor;
  due.selection ||= reselect;
  const own = ++turn;
  await updateVisible();
  const fill = due.colors ? await colorsOf(state.color) : null;
  const found = due.selection ? await maskOf(state.selection) : mask;
  if (own !== turn) return;
  if (fill) layerOf = fill();
  mask = found;
  const changed = due.selection;
  due.colors = due.selection = false;
  // One cell has a ring: the others keep their colours.
  const fades = mask && main.marked < 0;
  for (let i = 0; i < n; i++) layers[i] = !visible[i] ? HIDDEN : fades && !mask[i] ? PALE : layerOf(i);
  paint();
  renderLegend();
  writeAddress();
  if (changed) await renderPanel();
}

function paint() {
  const shown = theme();
  main.draw(colors, layers, shown);
  for (const [, map] of beside) map.draw(colors, layers, shown);
}

let frame = 0;
function repaint() {
  cancelAnimationFrame(frame);
  frame = requestAnimationFrame(() => main.draw(colors, layers, theme()));
}

// ---- the selection
// What is selected already is cleared, or taken away with `add`; not with `keep`.
async function select(selection, { add = false, keep = false } = {}) {
  const already = !keep && state.selection.length === selection.length && sameSelection(state.selection, selection);
  if (add) {
    const [one] = selection;
    const there = state.selection.findIndex((other) => sameSelection(one, other));
    if (there < 0) state.selection = [...state.selection, ...selection];
    else if (!keep) state.selection = state.selection.filter((_, k) => k !== there);
  } else state.selection = already ? [] : selection;
  main.marked = markedCell();
  await refresh({ recolor: false });
}

// The cell that is selected alone; -1: none is.
function markedCell() {
  const [first] = state.selection;
  return state.selection.length === 1 && first[0][0] === "@cell" ? first[0][1][0] : -1;
}

const clear = () => select([]);

// ---- the legend
function renderLegend() {
  const legend = $("legend");
  if (genes.has(state.color)) {
    const gene = genes.get(state.color);
    let found = 0, all = 0;
    loadGene(state.color).then((packed) => {
      for (let i = 0; i < n; i++) if (visible[i]) { all++; if (geneLevel(packed, i)) found++; }
      legend.replaceChildren(
        el("div", { class: "ramp", style: rampStyle(dark.matches) }),
        el("div", { class: "ends" }, el("span", {}, "0"), el("span", {}, gene.high.toPrecision(3))),
        el("p", { class: "soft" }, `log expression of ${state.color}; ${count(found)} of ${count(all)} cells have it (grey: none)`),
      );
    });
    return;
  }
  const column = columns.get(state.color);
  if (!isCategory(column)) {
    const ends = column.ends.map((level) => number(column, levelValue(column, level)));
    const missing = column.data.reduce((sum, level, i) => sum + (visible[i] && level === 255), 0);
    legend.replaceChildren(
      el("div", { class: "ramp", style: rampStyle(dark.matches) }),
      el("div", { class: "ends" }, ...ends.map((end) => el("span", {}, end))),
      el("p", { class: "soft" }, `${column.about || column.title}. Colours span the 1st to the 99th percentile${missing ? `; grey: ${count(missing)} cells without a value` : ""}.`),
    );
    return;
  }
  const counts = new Uint32Array(column.values.length);
  for (let i = 0; i < n; i++) if (visible[i] && column.data[i] < counts.length) counts[column.data[i]]++;
  const entries = column.values.map((value, k) => {
    const own = [[column.name, [value]]];
    const pressed = state.selection.some((all) => sameSelection(all, own));
    const color = toHex(onPaper(fromHex(column.colors[k]), dark.matches, value));
    return el(
      "button",
      { type: "button", "aria-pressed": String(pressed), "data-value": value, title: value, onclick: (event) => select([own], { add: event.shiftKey }) },
      el("span", { class: value === UNASSIGNED ? "key cross" : "key", style: value === UNASSIGNED ? `color: ${color}` : `background: ${color}`, "aria-hidden": "true" }),
      el("span", { class: "name" }, wordOf(column, value)),
      el("span", { class: "number" }, count(counts[k])),
    );
  });
  const focused = legend.contains(document.activeElement) ? document.activeElement.dataset.value : null;
  legend.replaceChildren(...entries);
  if (focused !== null) entries.find((entry) => entry.dataset.value === focused)?.focus();
}

// ---- the panel
async function renderPanel() {
  const own = ++panelTurn, panel = $("inspector"), status = $("status");
  panel.hidden = !mask;
  document.body.classList.toggle("selected", Boolean(mask));
  if (!mask) {
    status.textContent = "Nothing is selected.";
    return;
  }
  const shown = mask.map((chosen, i) => chosen & visible[i]);
  const total = shown.reduce((sum, one) => sum + one, 0);
  const title = nameOf(state.selection);
  status.textContent = `${count(total)} cells selected. ${title}`;
  const parts = [
    el("div", { class: "panel-head" }, el("h3", {}, el("output", { id: "selected-count" }, count(total)), total === 1 ? " cell" : " cells"), el("button", { type: "button", id: "clear", onclick: clear, title: "Clear the selection (Esc)" }, "Clear")),
    el("p", { class: "soft", id: "selected-name" }, title),
  ];
  if (main.marked >= 0 && total === 1) parts.push(await aboutCell(main.marked));
  else if (total) parts.push(...(await aboutCells(shown, total)));
  else parts.push(el("p", {}, "The filters on the left hide all of these cells."));
  if (own !== panelTurn) return;
  panel.replaceChildren(...parts);
  panel.scrollTop = 0;
  if (total && main.marked < 0) await fillGenes(shown, own);
}

async function aboutCell(i) {
  await Promise.all([...columns.keys()].map(loadColumn));
  const names = await loadNames(), list = el("dl", { class: "values" });
  for (const column of columns.values()) {
    const value = text(column.name, i);
    if (value) list.append(el("dt", { title: column.about }, column.title), el("dd", {}, wordOf(column, value)));
  }
  return el("div", {}, el("p", { class: "barcode" }, names[i]), el("p", { id: "why" }, why(i)), list);
}

async function aboutCells(shown, total) {
  const within = (name) => (value) => select(state.selection.map((all) => [...all.filter(([other]) => other !== name), [name, [value]]]));
  await Promise.all(["cell_type", "sample", "cluster", "cell_type_score", "cell_type_doubt", "role"].filter((name) => columns.has(name)).map(loadColumn));
  const parts = [el("p", { id: "confidence-line" }, confidenceLine(shown))];
  for (const name of ["cell_type", "sample", "cluster"]) {
    const column = columns.get(name), rows = composition(column, shown);
    if (rows.length > 1 || name === "cell_type") parts.push(el("h4", {}, column.title), bars(column, rows, total, dark.matches, within(name)));
  }
  parts.push(el("h4", {}, "genes that differ most"), el("div", { id: "top-genes" }, el("p", { class: "soft" }, "…")));
  const done = (event, said) => {
    const before = event.target.textContent;
    event.target.textContent = said;
    setTimeout(() => (event.target.textContent = before), 1500);
  };
  const names = async () => (await loadNames()).filter((_, i) => shown[i]);
  parts.push(
    el(
      "div",
      { class: "buttons" },
      el("button", { type: "button", id: "copy", onclick: async (event) => { await copyText((await names()).join("\n")); done(event, "Copied"); } }, "Copy barcodes"),
      el("button", { type: "button", id: "download", onclick: async () => download("cells.tsv", await asTable(shown)) }, "Download tsv"),
    ),
  );
  return parts;
}

function confidenceLine(shown) {
  let query = 0, sum = 0, sure = 0, scored = 0;
  const role = columns.get("role"), wanted = role.values.indexOf("query");
  for (let i = 0; i < n; i++) {
    if (!shown[i] || role.data[i] !== wanted) continue;
    query++;
    const score = numeric("cell_type_score", i);
    if (!Number.isNaN(score)) { scored++; sum += score; }
    if (text("cell_type_doubt", i) === SURE) sure++;
  }
  if (!columns.has("cell_type_doubt")) return "No labels were transferred.";
  if (!query) return "Reference cells only: their labels were given.";
  return `${count(query)} query cells: mean score ${scored ? (sum / scored).toFixed(2) : "–"}, ${percent(sure / query)} without a reason for doubt.`;
}

async function fillGenes(shown, own) {
  const rows = await differingGenes(shown, visible, () => own !== panelTurn);
  const place = $("top-genes");
  if (own !== panelTurn || !place) return;
  if (!rows.length) {
    place.replaceChildren(el("p", { class: "soft" }, genes.size ? "There are no other cells to compare with." : "The page holds no genes."));
    return;
  }
  const body = rows.map(([name, inside, outside]) =>
    el("tr", {}, el("td", {}, el("button", { type: "button", class: "gene", onclick: () => colorBy(name) }, name)), el("td", { class: "n" }, percent(inside)), el("td", { class: "n" }, percent(outside))),
  );
  place.replaceChildren(
    el("table", {}, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "gene"), el("th", { scope: "col", class: "n" }, "selected"), el("th", { scope: "col", class: "n" }, "others"))), el("tbody", {}, ...body)),
    el("p", { class: "soft" }, `Share of cells with the gene, of the ${count(head.selected)} selected genes in this page.`),
  );
}

// ---- colours
async function colorBy(name) {
  state.color = name;
  if (columns.has(name)) lastColumn = name;
  $("color-by").value = columns.has(name) ? name : "";
  $("gene").value = genes.has(name) ? name : "";
  $("gene-note").textContent = "";
  await refresh({ reselect: false });
}

async function searchGene() {
  const asked = $("gene").value.trim();
  if (!asked) return columns.has(state.color) ? undefined : colorBy(lastColumn);
  const name = geneNames.get(asked.toUpperCase());
  if (name) await colorBy(name);
  else $("gene-note").textContent = `${asked} is not among the ${count(genes.size)} genes of this page. Name it in report.genes to have it.`;
}

// Esc empties the box and brings back the colours before the gene; the selection stays.
async function geneKey(event) {
  if (event.key === "Enter") await searchGene();
  if (event.key !== "Escape") return;
  event.stopPropagation();
  $("gene").value = "";
  $("gene-note").textContent = "";
  await searchGene();
}

// ---- the address
function writeAddress() {
  const parts = new URLSearchParams();
  if (state.color !== FIRST_COLOR) parts.set("color", state.color);
  if (state.map !== head.maps[0].key) parts.set("map", state.map);
  if (state.selection.length) parts.set("select", JSON.stringify(state.selection));
  if (state.queryOnly) parts.set("query", "1");
  if (state.least > 0) parts.set("least", String(state.least));
  const { zoom, x, y } = main.view;
  if (Math.abs(zoom - 1) > 0.001) parts.set("view", [zoom, x, y].map((v) => Number(v.toFixed(6))).join(","));
  const hash = parts.toString();
  if (hash || location.hash.includes("=")) history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
}

async function readAddress() {
  const parts = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
  const color = parts.get("color");
  state.color = columns.has(color) || genes.has(color) ? color : FIRST_COLOR;
  if (columns.has(state.color)) lastColumn = state.color;
  state.selection = readSelection(parts.get("select") ?? "[]");
  state.queryOnly = parts.get("query") === "1";
  state.least = Math.max(0, Math.min(1, Number(parts.get("least")) || 0));
  state.map = head.maps.some((map) => map.key === parts.get("map")) ? parts.get("map") : head.maps[0].key;
  await showMap(state.map);
  const view = (parts.get("view") ?? "").split(",").map(Number);
  if (view.length === 3 && view.every(Number.isFinite)) main.view = { zoom: Math.max(0.5, Math.min(200, view[0])), x: view[1], y: view[2] };
  main.marked = markedCell();
  $("color-by").value = columns.has(state.color) ? state.color : "";
  $("gene").value = genes.has(state.color) ? state.color : "";
  $("query-only").checked = state.queryOnly;
  $("least").value = state.least;
  $("least-value").textContent = state.least.toFixed(2);
}

async function showMap(key) {
  state.map = key;
  $("which-map").value = key;
  main.setPoints(await loadMap(head.maps.find((map) => map.key === key)));
}

// ---- pointers and keys
function hover(event) {
  const card = $("hover"), box = $("map").getBoundingClientRect();
  const i = main.nearest(event.clientX - box.left, event.clientY - box.top, layers);
  if (i === hovered && !card.hidden) return place(event);
  hovered = i;
  card.hidden = i < 0;
  if (i < 0) return;
  const rows = ["cell_type", "sample", "cluster", "cell_type_score", "cell_type_set", "cell_type_second", "cell_type_doubt", "dice_uncertainty", "cell_type_p_reference", "truth"];
  const list = el("dl", { class: "values" });
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
    const corners = line.flatMap(([x, y]) => [Math.round(65535 * x), Math.round(65535 * y)]);
    await select([[[`@${state.map}`, thinned(corners)]]], { add: event.shiftKey && state.selection.length > 0 && state.lasso });
  } else if (moved < 5 && event.type === "pointerup") {
    const i = main.nearest(...local(event), layers);
    if (i >= 0) await select([[["@cell", [i]]]], { add: event.shiftKey });
    else if (state.selection.length) await clear();
  } else writeAddress();
  repaint();
}

// At most some 60 corners, so that an address stays short.
function thinned(corners) {
  const every = Math.ceil(corners.length / 2 / 60), kept = [];
  for (let k = 0; k < corners.length; k += 2 * every) kept.push(corners[k], corners[k + 1]);
  return kept.length >= 6 ? kept : corners;
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

// ---- tables of the page
function wirePicks() {
  for (const place of document.querySelectorAll("[data-pick]")) {
    const selection = [JSON.parse(place.dataset.pick)];
    if (!readSelection(JSON.stringify(selection)).length) continue;
    // A button says "show": it never clears, though another finding may be about the same cells.
    const keep = place.tagName === "BUTTON";
    const pickCells = async (event) => {
      if (columns.has(place.dataset.color)) await colorBy(place.dataset.color);
      await select(selection, { add: event.shiftKey, keep });
      if (!place.closest(".viewer")) $("explore").scrollIntoView({ block: "start" });
    };
    if (keep) {
      place.addEventListener("click", pickCells);
      continue;
    }
    const button = el("button", { type: "button", class: "pick", onclick: pickCells }, ...place.childNodes);
    place.append(button);
  }
}

function wireSorting() {
  for (const table of document.querySelectorAll("table.sortable")) {
    const rows = [...table.tBodies[0].rows];
    const value = (row, k) => row.cells[k].textContent.trim();
    const size = (shown) => (/^[<>]?[-+]?[\d.,]+%?$/.test(shown) ? Number(shown.replace(/[<>,%+]/g, "")) : NaN);
    [...table.tHead.rows[0].cells].forEach((cell, k) => {
      const button = el("button", { type: "button", class: "sort" }, ...cell.childNodes);
      cell.append(button);
      button.addEventListener("click", () => {
        const down = cell.getAttribute("aria-sort") === "descending";
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        cell.setAttribute("aria-sort", down ? "ascending" : "descending");
        rows.sort((a, b) => {
          const [x, y] = [value(a, k), value(b, k)], [p, q] = [size(x), size(y)];
          const order = Number.isNaN(p) || Number.isNaN(q) ? (Number.isNaN(p) - Number.isNaN(q)) || y.localeCompare(x, "en") : q - p;
          return down ? -order : order;
        });
        table.tBodies[0].append(...rows);
      });
    });
  }
}

function wireControls() {
  const groups = new Map();
  for (const column of columns.values()) groups.set(column.group, [...(groups.get(column.group) ?? []), column]);
  $("color-by").append(el("option", { value: "", hidden: true }, "a gene"));
  for (const [label, own] of groups) $("color-by").append(el("optgroup", { label }, ...own.map((column) => el("option", { value: column.name, title: column.about }, column.title))));
  $("color-by").addEventListener("change", (event) => colorBy(event.target.value));
  $("gene-list").append(...[...genes.keys()].map((name) => el("option", { value: name })));
  $("gene").addEventListener("change", searchGene);
  $("gene").addEventListener("keydown", geneKey);
  for (const map of head.maps) $("which-map").append(el("option", { value: map.key }, map.title));
  $("which-map").hidden = head.maps.length < 2;
  $("which-map").addEventListener("change", async (event) => { await showMap(event.target.value); repaint(); writeAddress(); });
  $("query-only").addEventListener("change", (event) => { state.queryOnly = event.target.checked; refresh({ recolor: false }); });
  $("query-only").closest("label").hidden = columns.get("role").values.length < 2;
  $("least-box").hidden = !columns.has("cell_type_score");
  $("least").addEventListener("input", (event) => {
    state.least = Number(event.target.value);
    $("least-value").textContent = state.least.toFixed(2);
    refresh({ recolor: false });
  });
  $("zoom-in").addEventListener("click", () => zoom(1.4));
  $("zoom-out").addEventListener("click", () => zoom(1 / 1.4));
  $("fit").addEventListener("click", () => { main.fit(); repaint(); writeAddress(); });
  $("lasso").addEventListener("click", () => setLasso(!state.lasso));
  $("save").addEventListener("click", () => $("map").toBlob((picture) => download("map.png", picture, "image/png")));
  const canvas = $("map");
  canvas.addEventListener("pointerdown", pointerDown);
  canvas.addEventListener("pointermove", pointerMove);
  canvas.addEventListener("pointerup", pointerUp);
  canvas.addEventListener("pointercancel", pointerUp);
  canvas.addEventListener("pointerleave", () => ($("hover").hidden = true));
  canvas.addEventListener("keydown", mapKey);
  // The wheel scrolls the page until the map was clicked or Ctrl is held.
  canvas.addEventListener("wheel", (event) => {
    if (document.activeElement !== canvas && !event.ctrlKey) return;
    event.preventDefault();
    main.zoomAt(Math.exp(-event.deltaY / 400), ...local(event));
    repaint();
  }, { passive: false });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    setLasso(false);
    if (state.selection.length) clear();
  });
  dark.addEventListener("change", () => refresh({ reselect: false }));
  new ResizeObserver(() => requestAnimationFrame(paint)).observe($("map").parentElement);
  addEventListener("hashchange", async () => {
    if (!location.hash.includes("=")) return;
    await readAddress();
    refresh();
  });
}

// On a narrow screen the list ends after three entries, until it is asked for more.
function wireList() {
  const list = $("look"), rest = list.querySelectorAll("li").length - 3;
  if (rest < 1) return;
  const more = el("button", { type: "button", class: "more", "aria-expanded": "false" }, `${rest} more`);
  more.addEventListener("click", () => {
    const open = list.classList.toggle("open");
    more.setAttribute("aria-expanded", String(open));
    more.textContent = open ? "Show three" : `${rest} more`;
  });
  list.append(more);
}

// What runs over the side has a shadow there, and the keyboard can scroll it.
function markWide() {
  for (const box of document.querySelectorAll("main .scroll, main figure")) {
    const wide = box.scrollWidth > box.clientWidth + 1;
    box.classList.toggle("wide", wide);
    if (wide) box.tabIndex = 0;
  }
}

function openForPrint() {
  const closed = [...document.querySelectorAll("details:not([open])")];
  for (const one of closed) one.open = true;
  addEventListener("afterprint", () => closed.forEach((one) => (one.open = false)), { once: true });
}

async function start() {
  addEventListener("beforeprint", openForPrint);
  wireControls();
  wirePicks();
  wireSorting();
  wireList();
  markWide();
  addEventListener("resize", markWide);
  await loadColumn("cell_type");
  await readAddress();
  await refresh();
  performance.mark("ready");
  document.documentElement.dataset.ready = "map";
  for (const [key, map] of beside) map.setPoints(await loadMap(head.maps.find((one) => one.key === key)));
  await Promise.all([...columns.keys()].map(loadColumn));
  paint();
  document.documentElement.dataset.ready = "all";
}

start();
