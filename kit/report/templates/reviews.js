// Lets a reader accept or reject the tuned answers shown, and hands the verdicts over as lines of JSON.
(() => {
  const desk = document.getElementById("review-desk");
  const name = document.getElementById("reviewer");
  const lines = document.getElementById("review-lines");
  const link = document.getElementById("review-download");
  const status = document.getElementById("review-count");
  if (!desk || !name || !lines || !link || !status) return;
  desk.hidden = false;
  const given = new Map();

  const element = (tag, attributes, text = "") => {
    const made = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.textContent = text;
    return made;
  };

  const show = () => {
    const reviewer = name.value.trim();
    const text = [...given.values()].map((line) => JSON.stringify({ ...line, reviewer }) + "\n").join("");
    status.textContent = `${given.size} ${given.size === 1 ? "answer" : "answers"} marked`;
    if (given.size && !reviewer) status.textContent += "; your name is missing";
    const ready = given.size > 0 && reviewer !== "";
    lines.value = ready ? text : "";
    link.hidden = !ready;
    if (link.href) URL.revokeObjectURL(link.href);
    if (ready) link.href = URL.createObjectURL(new Blob([text], { type: "application/x-ndjson" }));
  };

  const offer = (place) => {
    const { id, sha256 } = place.dataset;
    const note = element("input", { type: "text", "aria-label": "Note on the tuned answer", placeholder: "Note" });
    const buttons = ["accept", "reject"].map((verdict) =>
      element("button", { type: "button", "aria-pressed": "false", "data-verdict": verdict },
        verdict === "accept" ? "Accept tuned answer" : "Reject"));
    const mark = (verdict) => {
      for (const button of buttons) {
        button.setAttribute("aria-pressed", String(button.dataset.verdict === verdict));
      }
      if (verdict) {
        given.set(id, {
          id, system: "tuned", decoding: "greedy", output_sha256: sha256, verdict, note: note.value.trim(),
          date: new Date().toISOString().slice(0, 19) + "Z",
        });
      } else given.delete(id);
      show();
    };
    for (const button of buttons) {
      button.addEventListener("click", () => {
        mark(button.getAttribute("aria-pressed") === "true" ? "" : button.dataset.verdict);
      });
    }
    note.addEventListener("input", () => { if (given.has(id)) mark(given.get(id).verdict); });
    place.append(...buttons, note);
  };

  for (const place of document.querySelectorAll(".review")) offer(place);
  name.addEventListener("input", show);
  let saved = 0;
  link.addEventListener("click", () => { saved = given.size; });
  window.addEventListener("beforeunload", (event) => { if (given.size > saved) event.preventDefault(); });
})();
