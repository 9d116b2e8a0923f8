// State, what is drawn of it, the address, the buttons; the last of the scripts.
const $ = (id) => document.getElementById(id);
const state = { color: "", map: head.maps[0].key, selection: [], queryOnly: false, least: 0, off: {}, lasso: false };
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
let cellNames = null;

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
  const hidden = await Promise.all(Object.entries(state.off).map(([name, values]) => maskOf([[[name, values]]])));
  for (let i = 0; i < n; i++) {
    const low = score && score.data[i] !== 255 && levelValue(score, score.data[i]) < state.least;
    visible[i] = (state.queryOnly && role.data[i] === reference) || low || hidden.some((mask_of) => mask_of[i]) ? 0 : 1;
  }
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
  writeAddress();
  await renderLegend();
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
  const given = !state.selection.length && lent !== null;
  if (given) setColor(lent);
  main.marked = markedCell();
  await refresh({ recolor: given });
}

// The cell that is selected alone; -1: none is.
function markedCell() {
  const [first] = state.selection;
  return state.selection.length === 1 && first[0][0] === "@cell" ? first[0][1][0] : -1;
}

const clear = () => select([]);

// ---- colours
// The colour before that which an entry of the list lent: it comes back when nothing is selected.
let lent = null;

async function lendColor(name) {
  if (state.color === name) return;
  const before = lent ?? state.color;
  await colorBy(name);
  lent = before;
}

async function colorBy(name) {
  setColor(name);
  await refresh({ reselect: false });
}

function setColor(name) {
  lent = null;
  state.color = name;
  if (columns.has(name)) lastColumn = name;
  $("color-by").value = columns.has(name) ? name : "";
  $("gene").value = genes.has(name) ? name : "";
  $("gene-note").textContent = "";
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
  if (Object.keys(state.off).length) parts.set("off", JSON.stringify(Object.entries(state.off)));
  const { zoom, x, y } = main.view;
  if (Math.abs(zoom - 1) > 0.001) parts.set("view", [zoom, x, y].map((v) => Number(v.toFixed(6))).join(","));
  const hash = parts.toString();
  if (hash || location.hash.includes("=")) history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
}

async function readAddress() {
  const parts = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
  const color = parts.get("color");
  lent = null;
  state.color = columns.has(color) || genes.has(color) ? color : FIRST_COLOR;
  if (columns.has(state.color)) lastColumn = state.color;
  state.selection = readSelection(parts.get("select") ?? "[]");
  state.queryOnly = parts.get("query") === "1";
  // Written as one alternative of a selection.
  state.off = Object.fromEntries(readSelection(`[${parts.get("off") ?? "[]"}]`)[0] ?? []);
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
  $("save-png").addEventListener("click", savePng);
  $("save-svg").addEventListener("click", saveSvg);
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

async function start() {
  addEventListener("beforeprint", openForPrint);
  wireControls();
  wirePicks();
  wireGenes();
  wireSearch();
  wireSorting();
  wireList();
  markWide();
  addEventListener("resize", markWide);
  await loadColumn("cell_type");
  await readAddress();
  await refresh();
  performance.mark("ready");
  document.documentElement.dataset.ready = "map";
  for (const [key, map] of beside) {
    map.setPoints(await loadMap(head.maps.find((one) => one.key === key)));
    wireBeside(key, map);
  }
  cellNames = await loadNames();
  await Promise.all([...columns.keys()].map(loadColumn));
  paint();
  document.documentElement.dataset.ready = "all";
}

start();
