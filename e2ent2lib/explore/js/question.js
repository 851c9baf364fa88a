// One question of the study: two pictures, "which looks better?"; a button, ← or → answers. Nothing names a system.

function render({ model, el }) {
  el.classList.add("e2");
  el.innerHTML = `<div class="e2-question" tabindex="-1"><div class="e2-bar"><strong class="text"></strong>
    <span class="count e2-note" aria-live="polite"></span><progress></progress></div><div class="e2-two">
    <button class="left"><img alt="the left picture" draggable="false"><span>← left</span></button>
    <button class="right"><img alt="the right picture" draggable="false"><span>right →</span></button></div>
    <div class="e2-note">Click a picture, or press ← or →.</div></div>`;
  const [area, text, count, bar] = [".e2-question", ".text", ".count", "progress"].map((s) => el.querySelector(s));
  const buttons = { left: el.querySelector(".left"), right: el.querySelector(".right") };
  let since = null, urls = [];
  const number = () => model.get("number");

  // the clock begins, and answers count, once both pictures are on the screen
  async function show() {
    const asked = number();
    since = null;
    area.style.display = asked < 0 ? "none" : "";
    if (asked < 0) return;
    urls.forEach((u) => URL.revokeObjectURL(u));
    urls = ["left", "right"].map((side) => URL.createObjectURL(new Blob([model.get(side)])));
    const images = Object.values(buttons).map((b) => b.querySelector("img"));
    images.forEach((image, i) => (image.src = urls[i]));
    text.textContent = model.get("text");
    count.textContent = `question ${asked + 1} of ${model.get("total")}`;
    bar.max = model.get("total");
    bar.value = asked;
    bar.setAttribute("aria-label", "progress");
    await Promise.all(images.map((image) => image.decode().catch(() => null)));
    if (asked === number()) {
      since = performance.now();
      area.focus({ preventScroll: true });
    }
  }

  function answer(choice) {
    if (since === null) return;
    const milliseconds = Math.round(performance.now() - since);
    since = null;  // a question is answered once
    model.send({ choice, number: number(), milliseconds });
  }

  for (const side of ["left", "right"]) buttons[side].addEventListener("click", () => answer(side));
  // a click beside the question takes the focus away, yet the arrows go on answering
  function press(event) {
    const active = document.activeElement;
    if (number() < 0 || (active !== document.body && !el.contains(active))) return;
    const side = { ArrowLeft: "left", ArrowRight: "right" }[event.key];
    if (!side || event.repeat || event.altKey || event.ctrlKey || event.metaKey) return;  // Alt+← is the browser's
    event.preventDefault();
    event.stopPropagation();
    answer(side);
  }
  document.addEventListener("keydown", press);
  model.on("change:number", show);
  show();
  return () => { document.removeEventListener("keydown", press); model.off("change:number", show); urls.forEach((u) => URL.revokeObjectURL(u)); };
}

export default { render };
