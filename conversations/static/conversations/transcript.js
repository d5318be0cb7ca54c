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
// A second click on "Send" would say it twice.
document.addEventListener("submit", (event) => {
  if (!event.target.matches("[data-once]")) return;
  event.target.querySelector("button").disabled = true;
});
// ... and the page that the browser kept for "back" may send again.
addEventListener("pageshow", () => {
  for (const button of document.querySelectorAll("[data-once] button")) button.disabled = false;
});
