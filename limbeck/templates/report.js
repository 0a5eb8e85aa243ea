"use strict";
// Chips show one kind of pair; the menu sorts by a score; a picture held down shows the other one of its pair.
for (const gallery of document.querySelectorAll("[data-gallery]")) {
  const pairs = [...gallery.querySelectorAll(".pair")];
  const grid = gallery.querySelector(".pairs");
  const chips = [...gallery.querySelectorAll(".chips button")];
  for (const chip of chips) {
    chip.addEventListener("click", () => {
      for (const other of chips) other.setAttribute("aria-pressed", String(other === chip));
      for (const pair of pairs) {
        pair.hidden = chip.dataset.show !== undefined && !pair.dataset.kinds.split("\n").includes(chip.dataset.show);
      }
    });
  }
  const menu = gallery.querySelector("select");
  if (menu) {
    menu.addEventListener("change", () => {
      const [score, order] = menu.value.split("\n");
      const value = (pair) => {
        const found = JSON.parse(pair.dataset.scores)[score];
        return typeof found === "number" ? found * (order === "down" ? -1 : 1) : Infinity;
      };
      const sorted = menu.value ? [...pairs].sort((a, b) => value(a) - value(b)) : pairs;
      grid.append(...sorted);
    });
  }
  gallery.querySelectorAll(".js").forEach((part) => { part.hidden = false; });
}
for (const looks of document.querySelectorAll(".looks")) {
  const [before, after] = looks.querySelectorAll("img");
  if (!before || !after) continue;
  for (const [here, there] of [[before, after], [after, before]]) {
    const own = here.src;
    const back = () => { here.src = own; };
    const other = there.src;
    here.parentElement.addEventListener("pointerdown", () => { here.src = other; });
    for (const event of ["pointerup", "pointerleave", "pointercancel"]) here.parentElement.addEventListener(event, back);
  }
  looks.addEventListener("contextmenu", (event) => { if (event.pointerType === "touch") event.preventDefault(); });
  looks.addEventListener("dragstart", (event) => event.preventDefault());
}
