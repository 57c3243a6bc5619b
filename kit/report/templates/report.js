"use strict";
(() => {
  const filter = document.getElementById("filter");
  const [field, kind, slice, reason, opener, closer, count] = ["text", "kind", "slice", "reason", "open", "close", "count"].map(
    (name) => document.getElementById(`filter-${name}`),
  );
  const entries = [...document.querySelectorAll(".transcript")].map((element) => ({
    element,
    words: element.textContent.toLowerCase(),
    kind: element.dataset.kind,
    slices: texts(element, ".slice"),
    reasons: texts(element, ".reason"),
  }));

  function texts(element, selector) {
    return [...element.querySelectorAll(selector)].map((part) => part.textContent);
  }

  // Options are made from text, never from HTML.
  function offer(select, values) {
    for (const value of [...new Set(values)].sort()) select.add(new Option(value.slice(0, 80), value));
    select.parentElement.hidden = select.options.length < 2;
  }

  function apply() {
    const words = field.value.trim().toLowerCase();
    let shown = 0;
    for (const entry of entries) {
      const found =
        entry.words.includes(words) &&
        (!kind.value || entry.kind === kind.value) &&
        (!slice.value || entry.slices.includes(slice.value)) &&
        (!reason.value || entry.reasons.includes(reason.value));
      entry.element.hidden = !found;
      shown += found ? 1 : 0;
    }
    const all = shown === entries.length;
    count.textContent = all ? "" : `${shown} of ${entries.length} shown`;
  }

  function openAll(open) {
    for (const entry of entries) if (!entry.element.hidden) entry.element.open = open;
  }

  if (filter && entries.length) {
    offer(slice, entries.flatMap((entry) => entry.slices));
    offer(reason, entries.flatMap((entry) => entry.reasons));
    filter.hidden = false;
    filter.addEventListener("submit", (event) => event.preventDefault());
    for (const control of [field, kind, slice, reason]) control.addEventListener("input", apply);
    opener.addEventListener("click", () => openAll(true));
    closer.addEventListener("click", () => openAll(false));
  }

  // On paper nothing can be opened; afterwards all is as it was.
  let closed = [];
  window.addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const details of closed) details.open = true;
  });
  window.addEventListener("afterprint", () => {
    for (const details of closed) details.open = false;
  });
})();
