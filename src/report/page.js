"use strict";
// Without this script the page lacks only sorting, the filter and the button.
const number = (text) => text === "" ? -Infinity : text === "NaN" ? Infinity : Number(text.replace("inf", "Infinity"));
for (const table of document.querySelectorAll(".rows")) {
  const body = table.tBodies[0];
  const order = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(head.firstChild);
    head.append(button);
    const numeric = head.classList.contains("number");
    const ways = numeric ? ["descending", "ascending", "none"] : ["ascending", "descending", "none"];
    button.addEventListener("click", () => {
      const way = ways[(ways.indexOf(head.getAttribute("aria-sort") ?? "none") + 1) % 3];
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      if (way === "none") return body.append(...order);
      head.setAttribute("aria-sort", way);
      const sign = way === "ascending" ? 1 : -1;
      const key = (row) => row.cells[column].textContent;
      const words = new Intl.Collator("en", { numeric: true });
      const compare = numeric
        ? (a, b) => number(a) === number(b) ? 0 : number(a) < number(b) ? -1 : 1
        : words.compare;
      body.append(...[...order].sort((a, b) => sign * compare(key(a), key(b))));
    });
  });
}
const all = document.querySelector(".all");
if (all) {
  const [tools, status, name, count] = [".tools", "select", "input", "output"].map((what) => all.querySelector(what));
  const rows = [...all.querySelector("tbody").rows];
  const filter = () => {
    let shown = 0;
    for (const row of rows) {
      row.hidden = !((status.value === "" || row.className === status.value) && row.cells[0].textContent.includes(name.value));
      shown += !row.hidden;
    }
    count.textContent = `${shown} of ${rows.length}`;
  };
  status.addEventListener("change", filter);
  name.addEventListener("input", filter);
  tools.hidden = false;
  filter();
}
const theme = document.getElementById("theme");
theme.hidden = false;
theme.addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});
