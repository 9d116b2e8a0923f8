// What the colours mean: what gives them to the cells, and the legend that says so.

// What gives the cells their colours: a function that fills `colors`, and returns the layer of a cell.
async function colorsOf(name) {
  const absent = pack(fromHex(dark.matches ? "#59656f" : "#c0c8d0"));
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

// The legend as data: entries of a category, or a ramp with its ends. In both the title, and a note or "".
async function legendOf(name) {
  if (genes.has(name)) {
    const gene = genes.get(name), packed = await loadGene(name);
    let found = 0, all = 0;
    for (let i = 0; i < n; i++) if (visible[i]) { all++; if (geneLevel(packed, i)) found++; }
    const note = `log expression of ${name}; ${count(found)} of ${count(all)} cells have it (grey: none${mask && main.marked < 0 ? "; paler: not selected" : ""})`;
    return { title: name, ends: ["0", gene.high.toPrecision(3)], unit: "log expression, grey: none", note };
  }
  const column = await loadColumn(name);
  if (!isCategory(column)) {
    const missing = column.data.reduce((sum, level, i) => sum + (visible[i] && level === 255), 0);
    const grey = missing ? `; grey: ${count(missing)} cells without a value` : "";
    return {
      title: column.title,
      unit: column.title,
      ends: column.ends.map((level) => number(column, levelValue(column, level))),
      note: `${column.about || column.title}. Colours span the 1st to the 99th percentile${grey}.`,
    };
  }
  const counts = new Uint32Array(column.values.length);
  for (let i = 0; i < n; i++) if (visible[i] && column.data[i] < counts.length) counts[column.data[i]]++;
  const entries = column.values.map((value, k) => ({
    value,
    text: wordOf(column, value),
    color: toHex(onPaper(fromHex(column.colors[k]), dark.matches, value)),
    cross: value === UNASSIGNED,
    number: counts[k],
  }));
  return { title: column.title, entries, note: "" };
}

// Groups that are hidden, by column.
const isOff = (name, value) => Boolean(state.off[name]?.includes(value));

async function switchOff(name, value) {
  const others = (state.off[name] ?? []).filter((one) => one !== value);
  const values = isOff(name, value) ? others : [...others, value];
  const { [name]: _, ...rest } = state.off;
  state.off = values.length ? { ...rest, [name]: values } : rest;
  await refresh({ recolor: false });
}

async function renderLegend() {
  const name = state.color, own = turn, legend = $("legend"), found = await legendOf(name);
  if (own !== turn) return;
  if (!found.entries) {
    legend.replaceChildren(
      el("div", { class: "ramp", style: rampStyle(dark.matches) }),
      el("div", { class: "ends" }, ...found.ends.map((end) => el("span", {}, end))),
      el("p", { class: "soft" }, found.note),
    );
    return;
  }
  const buttons = found.entries.map(({ value, text, color, cross, number }) => {
    const selection = [[name, [value]]];
    const pressed = state.selection.some((all) => sameSelection(all, selection));
    const off = isOff(name, value), shown = cross ? `color: ${color}` : `background: ${color}`;
    return el(
      "div",
      { class: off ? "entry off" : "entry" },
      el(
        "button",
        { type: "button", class: "switch", "aria-pressed": String(off), "aria-label": `Hide ${text}`, title: off ? "Show these cells again" : "Hide these cells", "data-switch": value, onclick: () => switchOff(name, value) },
        el("span", { class: cross ? "key cross" : "key", style: shown, "aria-hidden": "true" }),
      ),
      el(
        "button",
        { type: "button", class: "value", "aria-pressed": String(pressed), "data-value": value, title: value, onclick: (event) => select([selection], { add: event.shiftKey }) },
        el("span", { class: "name" }, text),
        el("span", { class: "number" }, count(number)),
      ),
    );
  });
  const { value, switch: switched } = legend.contains(document.activeElement) ? document.activeElement.dataset : {};
  legend.replaceChildren(...buttons);
  const places = [...legend.querySelectorAll("button")];
  places.find((one) => (value !== undefined && one.dataset.value === value) || (switched !== undefined && one.dataset.switch === switched))?.focus();
}
