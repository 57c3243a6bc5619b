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

  // An answer may stand on the page twice, as a regression and as a safety miss: one verdict for both.
  const places = new Map();

  const mark = (key, verdict, note) => {
    const { id, decoding, sha256 } = places.get(key)[0].dataset;
    if (verdict) {
      given.set(key, {
        id, system: "tuned", decoding, output_sha256: sha256, verdict, note: note.trim(),
        date: new Date().toISOString().slice(0, 19) + "Z",
      });
    } else given.delete(key);
    for (const place of places.get(key)) {
      for (const button of place.querySelectorAll("button")) {
        button.setAttribute("aria-pressed", String(button.dataset.verdict === verdict));
      }
      const field = place.querySelector("input");
      if (field.value !== note) field.value = note;
    }
    show();
  };

  const offer = (place, key) => {
    const note = element("input", { type: "text", "aria-label": "Note on the tuned answer", placeholder: "Note" });
    const buttons = ["accept", "reject"].map((verdict) =>
      element("button", { type: "button", "aria-pressed": "false", "data-verdict": verdict },
        verdict === "accept" ? "Accept tuned answer" : "Reject"));
    for (const button of buttons) {
      button.addEventListener("click", () => {
        const { verdict } = button.dataset;
        mark(key, given.get(key)?.verdict === verdict ? "" : verdict, note.value);
      });
    }
    note.addEventListener("input", () => { if (given.has(key)) mark(key, given.get(key).verdict, note.value); });
    place.append(...buttons, note);
  };

  for (const place of document.querySelectorAll(".review")) {
    const key = `${place.dataset.decoding} ${place.dataset.id}`;
    places.set(key, [...(places.get(key) ?? []), place]);
    offer(place, key);
  }
  name.addEventListener("input", show);
  let saved = 0;
  link.addEventListener("click", () => { saved = given.size; });
  window.addEventListener("beforeunload", (event) => { if (given.size > saved) event.preventDefault(); });
})();
