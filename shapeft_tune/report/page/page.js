"use strict";
// Tables that sort by any column, and buttons that copy and save. The page says the same without it.

const byValue = (column, sign) => (one, other) => {
  const [a, b] = [one, other].map((row) => row.cells[column].dataset.value);
  if (a === undefined || b === undefined) return (a === undefined) - (b === undefined); // none: always last
  const [x, y] = [Number(a), Number(b)];
  const numbers = a.trim() !== "" && b.trim() !== "" && !Number.isNaN(x) && !Number.isNaN(y);
  return sign * (numbers ? x - y : a.localeCompare(b, "en", { numeric: true }));
};

function sort(table, column, direction) {
  const body = table.tBodies[0];
  const rows = [...body.rows].sort(byValue(column, direction === "ascending" ? 1 : -1));
  body.append(...rows);
  [...table.tHead.rows[0].cells].forEach((cell, index) => {
    if (index === column) cell.setAttribute("aria-sort", direction);
    else cell.removeAttribute("aria-sort");
  });
}

function makeSortable(table) {
  [...table.tHead.rows[0].cells].forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.textContent = heading.textContent.trim();
    heading.replaceChildren(button);
    const first = heading.classList.contains("number") ? "descending" : "ascending";
    const second = first === "ascending" ? "descending" : "ascending";
    button.addEventListener("click", () =>
      sort(table, column, heading.getAttribute("aria-sort") === first ? second : first),
    );
  });
}

function save(name, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

async function copy(button, text) {
  const said = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    const range = document.createRange(); // no permission, or an old browser: what is to be copied is marked
    range.selectNodeContents(button.closest(".copied").querySelector("code"));
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    button.textContent = "Marked: press Ctrl+C";
  }
  setTimeout(() => (button.textContent = said), 2000);
}

function configOf(button) {
  const config = JSON.parse(button.closest(".recipe").querySelector("code.config").textContent);
  config.seed = Number(button.dataset.seed);
  config.data.folds = JSON.parse(button.dataset.folds);
  return JSON.stringify(config, null, 2) + "\n";
}

document.querySelectorAll("table[data-sortable]").forEach(makeSortable);
document.querySelectorAll(".actions[hidden]").forEach((part) => (part.hidden = false));
document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  const code = button.closest(".copied")?.querySelector("code");
  if ("copy" in button.dataset) copy(button, code.textContent);
  if ("save" in button.dataset) save(button.dataset.save, code.textContent);
  if ("recipe" in button.dataset) save(button.dataset.recipe, configOf(button));
});

// On a wide screen the contents stay open beside the text; on paper everything that folds is open.
const contents = document.querySelector("nav details");
const wide = matchMedia("(min-width: 70rem)");
const unfold = () => (contents.open = wide.matches);
wide.addEventListener("change", unfold);
unfold();
