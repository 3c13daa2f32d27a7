"use strict";
// The page is whole without this: it adds the filter, and unfolds for printing.
const filter = document.getElementById("filter");
const input = document.getElementById("filter-text");
const count = document.getElementById("filter-count");
const contents = document.getElementById("contents");
const entries = [...contents.querySelectorAll("li")];
const groups = [...contents.querySelectorAll("ul")];

function show() {
  const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const entry of entries) {
    const terms = entry.dataset.terms ?? entry.textContent.toLowerCase();
    entry.hidden = !words.every((word) => terms.includes(word));
  }
  for (const group of groups) {
    const empty = words.length > 0 && ![...group.children].some((entry) => !entry.hidden);
    group.hidden = empty;
    if (group.previousElementSibling?.classList.contains("group")) group.previousElementSibling.hidden = empty;
  }
  const found = entries.filter((entry) => !entry.hidden).length;
  count.textContent = words.length > 0 ? `${found} of ${entries.length} entries` : "";
}

input.addEventListener("input", show);
input.addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  entries.find((entry) => !entry.hidden)?.querySelector("a").click();
});
filter.hidden = false;

// On a narrow screen the contents are folded away, and again once something was chosen.
const narrow = matchMedia("(max-width: 60rem)");
const fold = () => { contents.open = !narrow.matches; };
narrow.addEventListener("change", fold);
contents.addEventListener("click", (event) => {
  if (narrow.matches && event.target.closest("a")) contents.open = false;
});
fold();

// What is folded away is printed too.
const folded = [];
addEventListener("beforeprint", () => {
  folded.push(...document.querySelectorAll("main details:not([open])"));
  for (const part of folded) part.open = true;
});
addEventListener("afterprint", () => {
  for (const part of folded.splice(0)) part.open = false;
});
