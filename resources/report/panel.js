// The panel of the selected cells: their composition and genes, tables to take along; of one cell why its label is sure.
const TOP_GENES = 10;
const SURE = "none"; // the value of cell_type_doubt of a cell without a doubt
const VOTERS = { pca: "PCA", dice: "DICE", linear: "the linear model" };

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

// Texts of all cells of a mask, as tab-separated values with a header; numbers as the page holds them.
async function asTable(mask) {
  const names = await loadNames();
  const chosen = [...columns.values()];
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
  else parts.push(el("p", {}, "The filters hide all of these cells."));
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
