// The page around the map: what its tables and lists select, sorting, wide boxes, print.
// Bring the map into sight, unless it is beside what was clicked.
function showMapPlace(place) {
  const narrow = matchMedia("(max-width: 800px)").matches;
  if (narrow) $("map").scrollIntoView({ block: "center" });
  else if (!place.closest(".viewer")) $("explore").scrollIntoView({ block: "start" });
}

function wirePicks() {
  for (const place of document.querySelectorAll("[data-pick]")) {
    const selection = [JSON.parse(place.dataset.pick)];
    // A button says "show": it never clears, though another finding may be about the same cells.
    const keep = place.tagName === "BUTTON";
    if (!readSelection(JSON.stringify(selection)).length) {
      // The page lacks the column that would tell these cells.
      if (keep) place.hidden = true;
      continue;
    }
    const pickCells = async (event) => {
      // At once, and again when the panel is there.
      showMapPlace(place);
      if (columns.has(place.dataset.color)) await lendColor(place.dataset.color);
      await select(selection, { add: event.shiftKey, keep });
      showMapPlace(place);
    };
    if (keep) {
      place.addEventListener("click", pickCells);
      continue;
    }
    const button = el("button", { type: "button", class: "pick", onclick: pickCells }, ...place.childNodes);
    place.append(button);
  }
}

// Names of genes colour the map by the gene, if the page holds it.
function wireGenes() {
  for (const place of document.querySelectorAll("[data-gene]")) {
    const name = geneNames.get(place.dataset.gene.toUpperCase());
    if (!name) continue;
    const show = () => {
      showMapPlace(place);
      colorBy(name);
    };
    place.append(el("button", { type: "button", class: "pick", title: `Colour the map by ${name}`, onclick: show }, ...place.childNodes));
  }
}

// A box over a table that leaves the rows that hold its words.
function wireSearch() {
  for (const table of document.querySelectorAll("table.searchable")) {
    const box = table.closest(".scroll"), rows = [...table.tBodies[0].rows].map((row) => [row, row.textContent.toLowerCase()]);
    const found = el("span", { class: "soft", role: "status" });
    const search = () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let left = 0;
      for (const [row, words_of] of rows) {
        row.hidden = !words.every((word) => words_of.includes(word));
        left += !row.hidden;
      }
      found.textContent = words.length ? `${count(left)} of ${count(rows.length)} rows` : "";
    };
    const input = el("input", { type: "search", autocomplete: "off", spellcheck: "false", placeholder: "gene, cluster, type", oninput: search });
    box.before(el("p", { class: "search" }, el("label", {}, "Find ", input), " ", found));
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
  // The page itself has no date: made again it is the same file.
  $("printed").textContent = `Printed on ${new Date().toISOString().slice(0, 10)}.`;
  addEventListener("afterprint", () => closed.forEach((one) => (one.open = false)), { once: true });
}

