// One selection for the whole page: alternatives, each a list of [column, values] that all must hold.
// "@cell" names a cell by its position, "@<map>" a polygon on that map.

function validCondition([name, values]) {
  if (!Array.isArray(values)) return false;
  if (name === "@cell") return values.every((i) => Number.isInteger(i) && i >= 0 && i < n);
  if (name.startsWith("@")) return head.maps.some((map) => `@${map.key}` === name) && values.length >= 6 && values.every(Number.isFinite);
  const column = columns.get(name);
  return Boolean(column) && isCategory(column);
}

// What a text of the address says; [] where it says nothing that this page has.
function readSelection(json) {
  try {
    const found = JSON.parse(json);
    const sound = found.every((all) => all.length && all.every((one) => Array.isArray(one) && one.length === 2 && validCondition(one)));
    return sound ? found : [];
  } catch {
    return [];
  }
}

async function holds([name, values]) {
  if (name === "@cell") {
    const mask = new Uint8Array(n);
    for (const i of values) mask[i] = 1;
    return mask;
  }
  if (name.startsWith("@")) {
    const map = head.maps.find((one) => `@${one.key}` === name);
    return insidePolygon(await loadMap(map), values);
  }
  const column = await loadColumn(name), missing = none(column);
  const wanted = new Uint8Array(missing + 1);
  // "" stands for cells without a value.
  for (const value of values) {
    const code = value === "" ? missing : column.values.indexOf(value);
    if (code >= 0) wanted[code] = 1;
  }
  return column.data.map((code) => wanted[code]);
}

// Mask of the selected cells; null where nothing is selected.
async function maskOf(selection) {
  if (!selection.length) return null;
  const mask = new Uint8Array(n);
  for (const all of selection) {
    const parts = await Promise.all(all.map(holds));
    for (let i = 0; i < n; i++) if (parts.every((part) => part[i])) mask[i] = 1;
  }
  return mask;
}

function nameOf(selection) {
  const told = selection.map((all) =>
    all
      // The role goes without saying beside a column that only query cells have.
      .filter(([name], _, every) => name !== "role" || every.length === 1)
      .map(([name, values]) => {
        if (name === "@cell") return values.length === 1 ? "one cell" : `${values.length} cells`;
        if (name.startsWith("@")) return "lasso";
        const shown = values.map((value) => wordOf(columns.get(name), value) || "(none)");
        const more = shown.length > 3 ? `, ${shown.length - 3} more` : "";
        return `${columns.get(name).title}: ${shown.slice(0, 3).join(", ")}${more}`;
      })
      .join(" · "),
  );
  return told.join(" + ");
}

const sameSelection = (one, other) => JSON.stringify(one) === JSON.stringify(other);
