"use strict";
(() => {
  const filter = document.getElementById("filter");
  const field = document.getElementById("filter-text");
  const shown = document.getElementById("filter-count");
  const transcripts = [...document.querySelectorAll(".transcript")];
  if (filter && field && shown) {
    filter.hidden = false;
    field.addEventListener("input", () => {
      const words = field.value.trim().toLowerCase();
      let count = 0;
      for (const transcript of transcripts) {
        const found = transcript.textContent.toLowerCase().includes(words);
        transcript.hidden = !found;
        count += found ? 1 : 0;
      }
      shown.textContent = words ? `${count} of ${transcripts.length} shown` : "";
    });
  }
  window.addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details")) details.open = true;
  });
})();
