/* Tables of run pages: sort by a click or the Enter key on a heading, fold and filter the rows of long
   ones, download them as CSV. In all tables, lines break at good places. No network, no library; without
   scripts the tables stay as they are. */
"use strict";

(() => {
  const LONG = 12; // rows from which a filter helps
  const SHOWN = 20; // rows of a table before the rest is asked for

  const text = (cell) => cell.textContent.trim();

  /* "12.3 [8.1, 17.9]", "1,528", "76.2%" and "–" as numbers, NaN where there is none. */
  const number = (value) => {
    const found = value.replace(/(\d),(?=\d{3})/g, "$1").match(/^[-+−]?\d*\.?\d+(e[-+]?\d+)?/i);
    return found ? Number(found[0].replace("−", "-")) : NaN;
  };

  const order = (rows, column, direction) => {
    const values = new Map(rows.map((row) => [row, text(row.cells[column])]));
    const numeric = rows.some((row) => !Number.isNaN(number(values.get(row))));
    return [...rows].sort((a, b) => {
      const [one, other] = [values.get(a), values.get(b)];
      if (!numeric) return direction * one.localeCompare(other);
      const [x, y] = [number(one), number(other)];
      if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y); // last
      return direction * (x - y);
    });
  };

  const sortable = (table) => {
    const body = table.tBodies[0];
    const headings = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
    headings.forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => {
        const up = heading.getAttribute("aria-sort") !== "ascending";
        headings.forEach((other) => other.removeAttribute("aria-sort"));
        heading.setAttribute("aria-sort", up ? "ascending" : "descending");
        const rows = order([...body.rows], column, up ? 1 : -1);
        const folded = rows.some((row) => row.classList.contains("folded"));
        rows.forEach((row, at) => row.classList.toggle("folded", folded && at >= SHOWN));
        body.append(...rows);
      });
    });
  };

  const csv = (table) => {
    const quote = (value) => (/[",\n]/.test(value) ? `"${value.replace(/"/g, '""')}"` : value);
    const rows = [...table.rows].filter((row) => !row.hidden);
    return rows.map((row) => [...row.cells].map((cell) => quote(text(cell))).join(",")).join("\n");
  };

  const fold = (table) => {
    const rows = [...table.tBodies[0].rows];
    // Two rows more are shorter than the question; an index is there to be looked through.
    if (rows.length <= SHOWN + 2 || table.closest(".whole")) return;
    rows.slice(SHOWN).forEach((row) => row.classList.add("folded"));
    const button = document.createElement("button");
    button.type = "button";
    button.className = "unfold btn btn-sm btn-outline-primary";
    button.textContent = `Show all ${rows.length} rows`;
    button.addEventListener("click", () => unfold(table));
    table.after(button);
  };

  const unfold = (table) => {
    [...table.tBodies[0].rows].forEach((row) => row.classList.remove("folded"));
    table.parentElement.querySelector(".unfold")?.remove();
  };

  const tools = (table, place) => {
    const bar = document.createElement("div");
    bar.className = "table-tools";
    const rows = [...table.tBodies[0].rows];
    if (rows.length >= LONG) {
      const filter = document.createElement("input");
      filter.type = "search";
      filter.placeholder = "Filter rows";
      filter.setAttribute("aria-label", "Filter the rows of the table below");
      filter.addEventListener("input", () => {
        const wanted = filter.value.toLowerCase();
        rows.forEach((row) => { row.hidden = !text(row).toLowerCase().includes(wanted); });
        unfold(table); // who filters looks for a row, wherever it is
      });
      bar.append(filter);
    }
    const link = document.createElement("a");
    const page = location.pathname.split("/").slice(-3).join("-").replace(/\.html$/, "");
    link.textContent = "CSV";
    link.href = "#";
    link.download = `${page}-${place + 1}.csv`;
    link.setAttribute("aria-label", "Download the table below as CSV");
    link.addEventListener("click", () => {
      link.href = `data:text/csv;charset=utf-8,${encodeURIComponent(`${csv(table)}\n`)}`;
    });
    const more = document.createElement("span");
    more.className = "more";
    more.textContent = "more columns: scroll sideways →";
    bar.append(link, more);
    table.before(bar);
    const box = table.closest(".cell_output, .listing");
    new ResizeObserver(() => {
      const wide = table.offsetWidth > box.clientWidth + 1;
      more.hidden = !wide;
      // A box that scrolls must be reachable without a mouse.
      if (wide) box.tabIndex = 0;
    }).observe(box);
  };

  /* Texts of a cell, split at places that a pattern finds, with what a function makes of each part. */
  const split = (cell, pattern, made) => {
    const walker = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
    const texts = [];
    while (walker.nextNode()) texts.push(walker.currentNode);
    texts.filter((node) => pattern.test(node.data)).forEach((node) => {
      node.replaceWith(...node.data.split(pattern).filter(Boolean).flatMap(made));
    });
  };

  /* Names and paths may break after these signs; intervals, in brackets, and dates not at all. */
  const breaks = (cell) => {
    cell.querySelectorAll("code").forEach((code) => {
      split(code, /(?<=\/|\w_)/, (part) => [part, document.createElement("wbr")]);
    });
    const whole = /((?:\(|\[)[-+−\d.,% ]+(?:–| to |, )(?:never|[-+−\d.,% ]+)(?:\)|\])|\d{4}-\d\d-\d\d)/;
    split(cell, whole, (part) => {
      if (!whole.test(part)) return part;
      const span = document.createElement("span");
      span.className = "unbroken";
      span.textContent = part;
      return span;
    });
  };

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll(".bd-article td").forEach(breaks);
    const found = document.querySelectorAll(".bd-article :is(.cell_output, .listing) table");
    [...found].filter((table) => table.tHead && table.tBodies.length).forEach((table, place) => {
      sortable(table);
      tools(table, place);
      fold(table);
    });
  });
})();
