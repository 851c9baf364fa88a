// A file to choose or drop, sent in parts.

const PART = 4_000_000;

function render({ model, el }) {
  el.classList.add("e2", "e2-file");
  const id = `e2-file-${Math.random().toString(36).slice(2)}`;
  el.innerHTML = `<input type="file" id="${id}" accept="image/*,.tif,.tiff"><label for="${id}"></label>
    <span class="e2-note" role="status"></span>`;
  const [input, label, said] = ["input", "label", "span"].map((s) => el.querySelector(s));

  async function take(file) {
    if (!file) return;
    if (file.size > model.get("largest")) {
      said.textContent = `${file.name}: ${(file.size / 1e6).toFixed(0)} MB, at most ${model.get("largest") / 1e6} MB fit here`;
      return;
    }
    const content = await file.arrayBuffer();
    const parts = Math.max(1, Math.ceil(content.byteLength / PART));
    for (let part = 0; part < parts; part++) {
      said.textContent = `${file.name}: sending, part ${part + 1} of ${parts}`;
      const piece = content.slice(part * PART, (part + 1) * PART);
      model.send({ name: file.name, part, last: part === parts - 1 }, undefined, [piece]);
    }
  }

  const text = () => { label.textContent = model.get("label"); };
  const report = () => { said.textContent = model.get("said"); };
  input.addEventListener("change", () => { take(input.files[0]); input.value = ""; });
  el.addEventListener("dragover", (event) => event.preventDefault());
  el.addEventListener("drop", (event) => { event.preventDefault(); take(event.dataTransfer.files[0]); });
  model.on("change:label", text);
  model.on("change:said", report);
  text();
  report();
  return () => { model.off("change:label", text); model.off("change:said", report); };
}

export default { render };
