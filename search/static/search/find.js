// By keyboard: / to the question, arrows through the results, Enter follows the focused one, Escape back.
document.addEventListener("DOMContentLoaded", () => {
  const form = document.getElementById("ask");
  const question = form.querySelector("input[type=search]");
  const places = () => [...document.querySelectorAll(".hit a.place")];
  const typing = (target) => target.closest("input:not([type=search]), select, textarea, [contenteditable]");

  const move = (step) => {
    const found = places();
    const at = found.indexOf(document.activeElement);
    const next = at + step;
    if (next < 0) return question.focus();
    if (next < found.length) {
      found[next].focus();
      found[next].closest(".hit").scrollIntoView({ block: "nearest" });
    }
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const { target } = event;
    if (event.key === "/" && target !== question && !typing(target)) {
      event.preventDefault();
      question.focus();
      question.select();
    } else if (event.key === "ArrowDown" && !typing(target) && places().length) {
      event.preventDefault();
      move(1);
    } else if (event.key === "ArrowUp" && target.matches(".hit a.place")) {
      event.preventDefault();
      move(-1);
    } else if (event.key === "Escape" && target.matches(".hit a.place")) {
      question.focus();
    }
  });

  // Another mode is another search; what is empty says nothing in the address.
  form.addEventListener("change", (event) => {
    if (event.target.name === "mode" && question.value.trim()) form.requestSubmit();
  });
  form.addEventListener("submit", () => {
    for (const field of form.querySelectorAll("input, select")) if (field.name && field.name !== "q" && !field.value) field.disabled = true;
  });
  addEventListener("pageshow", () => {
    for (const field of form.querySelectorAll(":disabled")) field.disabled = false;
  });
});
