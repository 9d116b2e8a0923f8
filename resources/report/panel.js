// Legend, the panel of the selected cells, and the sentence about one cell.
const VIRIDIS = ["#440154", "#3b528b", "#21918c", "#5ec962", "#fde725"].map(fromHex);
const TOP_GENES = 10;
const SURE = "none"; // the value of cell_type_doubt of a cell without a doubt
const VOTERS = { pca: "PCA", dice: "DICE", linear: "the linear model" };
const UNASSIGNED = "unassigned";

function fromHex(hex) {
  return [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
}

const pack = ([r, g, b]) => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
const toHex = (rgb) => `#${rgb.map((v) => Math.round(v).toString(16).padStart(2, "0")).join("")}`;

function luminance(rgb) {
  const [r, g, b] = rgb.map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

// The colour; on a dark page lightened until it can be seen (contrast 3), that of unassigned more.
function onPaper(rgb, dark, value = "") {
  if (!dark) return rgb;
  if (value === UNASSIGNED) return [201, 209, 217];
  let shown = rgb;
  for (let share = 0.1; share < 1 && luminance(shown) < 0.11; share += 0.1) shown = rgb.map((v) => v + (255 - v) * share);
  return shown;
}

// A number from 0 to 1 on the ramp; on a dark page the ramp begins lighter.
function ramp(share, dark) {
  const from = dark ? 0.18 : 0;
  const place = Math.max(0, Math.min(0.9999, from + (1 - from) * share)) * (VIRIDIS.length - 1);
  const k = Math.floor(place), part = place - k;
  return VIRIDIS[k].map((v, c) => v + (VIRIDIS[k + 1][c] - v) * part);
}

function rampStyle(dark) {
  const stops = [0, 0.25, 0.5, 0.75, 1].map((share) => toHex(ramp(share, dark)));
  return `background: linear-gradient(90deg, ${stops.join(", ")})`;
}

// Share of the cells, by column and value, that a mask selects: [value, selected], largest first.
function composition(column, mask) {
  const counts = new Float64Array(column.values.length);
  for (let i = 0; i < n; i++) if (mask[i] && column.data[i] < counts.length) counts[column.data[i]]++;
  return [...counts.keys()].filter((k) => counts[k]).map((k) => [k, counts[k]]).sort((a, b) => b[1] - a[1]);
}

// Genes whose share of cells with a count differs most between the selected and the other cells. Of
// the genes that were selected for the page alone: all that fill it would take seconds.
async function differingGenes(mask, others, stale) {
  const selected = [], rest = [];
  for (let i = 0; i < n; i++) if (mask[i]) selected.push(i); else if (others[i]) rest.push(i);
  if (!selected.length || !rest.length) return [];
  const share = (packed, cells) => {
    let found = 0;
    for (const i of cells) if (geneLevel(packed, i)) found++;
    return found / cells.length;
  };
  const rows = [], names = [...genes.keys()].slice(0, head.selected);
  for (let start = 0; start < names.length; start += 64) {
    if (stale()) return [];
    const part = names.slice(start, start + 64);
    const loaded = await Promise.all(part.map(loadGene));
    part.forEach((name, k) => rows.push([name, share(loaded[k], selected), share(loaded[k], rest)]));
  }
  return rows.sort((a, b) => Math.abs(b[1] - b[2]) - Math.abs(a[1] - a[2])).slice(0, TOP_GENES);
}

const listed = (values) => (values.length > 1 ? `${values.slice(0, -1).join(", ")} and ${values.at(-1)}` : values.join(""));

// Why the label of a cell is sure or not, in one or two sentences.
function why(i) {
  const label = text("cell_type", i), sample = text("sample", i);
  if (!columns.has("cell_type_doubt")) {
    const given = text("cell_type_source", i) === "markers" ? ` Its label, ${label}, is that of its cluster by marker lists.` : "";
    return `A cell of ${sample}, cluster ${text("cluster", i)}. No labels were transferred.${given}`;
  }
  if (text("role", i) === "reference") {
    return label === UNASSIGNED ? `A reference cell of ${sample} without a given label.` : `A reference cell of ${sample}. Its label, ${label}, was given.`;
  }
  const reasons = [], set = text("cell_type_set", i).split("|").filter(Boolean);
  const doubt = text("cell_type_doubt", i), others = set.filter((one) => one !== label);
  if (doubt === UNASSIGNED) return `No label: ${ruleInWords(i)}${set.length ? ` Possible ${set.length > 1 ? "are" : "is"} ${listed(set)}.` : ""}${votersInWords(i, label)}`;
  if (!set.length) reasons.push("its prediction set is empty");
  else if (!set.includes(label)) reasons.push(`its prediction set holds only ${listed(set)}`);
  else if (others.length) reasons.push(`its prediction set also holds ${listed(others)}`);
  if (doubt === "cluster_disagrees") reasons.push(`most cells of its cluster, ${text("cluster", i)}, have another label`);
  if (doubt === "few_anchors") reasons.push(`only ${text("cell_type_n_anchors", i)} anchors support it`);
  const voters = votersInWords(i, label);
  const score = `Score ${text("cell_type_score", i)}${secondInWords(i)}.`;
  // Where the guarantee of the sets is not given, no label is called sure.
  const sure = "cautious" in $("explore").dataset ? "one possible label" : "sure";
  if (doubt === SURE) return `${label}, ${sure}: it is the only label in the prediction set${voters ? "" : ", no voter has another"}, and its cluster does not speak against it. ${score}`;
  return `${label}, not sure${reasons.length ? `: ${reasons.join("; ")}` : ""}.${voters} ${score}`;
}

function secondInWords(i) {
  const second = text("cell_type_second", i), score = numeric("cell_type_second_score", i);
  return second && score >= 0.005 ? `, second ${second} with ${score.toPrecision(2)}` : "";
}

function ruleInWords(i) {
  const rule = text("cell_type_rule", i), [, least] = rule.match(/below_([\d.e-]+)$/) ?? [];
  if (rule.startsWith("score_below")) return `its best label, ${text("cell_type_best", i)}, has a score of ${text("cell_type_score", i)}, below ${least}.`;
  if (rule.startsWith("p_reference")) return `few of the cells around it have an anchor (p_reference below ${least}), so the reference may lack its type.`;
  if (rule === "no_labelled_anchor") return "no labelled reference cell is among its anchors.";
  if (rule === "no_score_meets_risk") return "no score meets the risk asked for.";
  return `${rule.replaceAll("_", " ") || "no rule is given"}.`;
}

function votersInWords(i, label) {
  const told = [];
  for (const name of columns.keys()) {
    if (!name.startsWith("cell_type_in_") || name === "cell_type_in_markers") continue;
    const given = text(name, i);
    if (given && given !== label && given !== UNASSIGNED) told.push(`${VOTERS[name.slice(13)] ?? name.slice(13)} says ${given}`);
  }
  return told.length ? ` But ${listed(told)}.` : "";
}

// Bars of a composition. Each bar selects its cells among the selected ones.
function bars(column, rows, total, dark, onpick) {
  const most = 8, list = el("ul", { class: "bars" });
  for (const [k, found] of rows.slice(0, most)) {
    const color = toHex(onPaper(fromHex(column.colors[k]), dark, column.values[k]));
    const bar = el("span", { class: "bar", style: `width: ${(100 * found) / total}%; background: ${color}` });
    const button = el("button", { type: "button", onclick: () => onpick(column.values[k]) }, el("span", {}, column.values[k]), el("span", { class: "number" }, `${count(found)} · ${percent(found / total)}`));
    list.append(el("li", {}, button, bar));
  }
  if (rows.length > most) list.append(el("li", { class: "soft" }, `${rows.length - most} more`));
  return list;
}

// Texts of all cells of a mask, as tab-separated values with a header; categories and scores.
async function asTable(mask) {
  const names = await loadNames();
  const chosen = [...columns.values()].filter((column) => isCategory(column) || column.whole || column.name === "cell_type_score");
  await Promise.all(chosen.map((column) => loadColumn(column.name)));
  const clean = (value) => value.replace(/[\t\n]/g, " ");
  const lines = [["cell", ...chosen.map((column) => column.name)].join("\t")];
  for (let i = 0; i < n; i++) {
    if (mask[i]) lines.push([names[i], ...chosen.map((column) => clean(isCategory(column) ? text(column.name, i) : String(plain(column, i))))].join("\t"));
  }
  return `${lines.join("\n")}\n`;
}

function plain(column, i) {
  const value = numeric(column.name, i);
  return Number.isNaN(value) ? "" : column.whole ? Math.round(value) : Number(value.toPrecision(3));
}

async function copyText(value) {
  try {
    await navigator.clipboard.writeText(value);
  } catch {
    const area = el("textarea", { style: "position: fixed; opacity: 0" });
    area.value = value;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

function download(name, value, type = "text/tab-separated-values") {
  const link = el("a", { download: name, href: URL.createObjectURL(new Blob([value], { type })) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
