// The newest page is read from its end, a linked message from the middle of the screen.
document.addEventListener("DOMContentLoaded", () => {
  const wanted = location.hash && document.getElementById(location.hash.slice(1));
  const asked = new URLSearchParams(location.search).get("at");
  const target = wanted || (asked && document.getElementById(`m${asked}`));
  if (target) {
    target.classList.add("wanted");
    target.scrollIntoView({ block: "center" });
    return;
  }
  const last = document.querySelector(".transcript[data-newest] li.bubble:last-of-type");
  if (last) last.scrollIntoView({ block: "end" });
});
