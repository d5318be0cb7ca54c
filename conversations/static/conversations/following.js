// An open transcript follows its conversation. Bubbles are fetched as the server renders them; what is live is text.
(() => {
  const page = document.querySelector("[data-events]");
  if (!page || !window.EventSource) return;
  const list = page.querySelector(".transcript > ol");
  const words = page.dataset;
  const status = page.querySelector(".live-status");
  const draft = page.querySelector(".live-draft");
  const state = { bursts: [], turns: new Map(), offset: 0 };
  let fetching = Promise.resolve();

  const last = () => {
    const bubbles = list.querySelectorAll("li.bubble");
    return bubbles.length ? Number(bubbles[bubbles.length - 1].id.slice(1)) : -1;
  };
  const nearEnd = () => innerHeight + scrollY >= document.documentElement.scrollHeight - 240;

  const bring = async () => {
    const answer = await fetch(`${words.here}?after=${last()}`, { credentials: "same-origin" });
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const follow = nearEnd();
    const end = last();
    for (const bubble of fresh.querySelectorAll(".transcript > ol > li.bubble")) {
      if (Number(bubble.id.slice(1)) > end) list.append(document.adoptNode(bubble));
    }
    const facts = fresh.querySelector(".panel dl");
    if (facts) page.querySelector(".panel dl").replaceWith(document.adoptNode(facts));
    list.querySelectorAll(":scope > li.hint").forEach((nothing) => list.querySelector("li.bubble") && nothing.remove());
    if (follow) page.querySelector(".live-end").scrollIntoView({ block: "end", behavior: "smooth" });
  };

  const running = () => [...state.turns.values()].some((turn) => turn.status === "running");
  const waiting = () => [...state.turns.values()].some((turn) => turn.status === "waiting");
  const show = () => {
    const burst = state.bursts[0];
    let text = "";
    if (running()) text = words.thinking;
    else if (burst) {
      const left = Math.max(0, (Date.parse(burst.flush_at) - Date.now()) / 1000);
      text = left > 0.05 ? words.listening.replace("%s", left.toFixed(1)) : words.due;
    } else if (waiting()) text = words.due;
    status.textContent = text;
    status.hidden = !text;
    status.classList.toggle("thinking", running());
    if (!running()) draft.hidden = true;
  };
  setInterval(show, 100);

  const stream = new EventSource(`${words.events}?after=${last()}`);
  const on = (name, act) => stream.addEventListener(name, (event) => { act(JSON.parse(event.data)); show(); });
  on("message", () => { fetching = fetching.then(bring, bring); });
  on("burst", (told) => { state.bursts = told.bursts; });
  on("turn", (turn) => { state.turns.set(turn.id, turn); });
  on("draft", (told) => {
    draft.querySelector(".said").textContent = told.text;
    draft.hidden = !told.text;
  });
  on("deleted", () => location.reload());
  on("session", (told) => { if (told.mode !== words.mode) location.reload(); });
  addEventListener("pagehide", () => stream.close());

  // The composer: every line at once into the burst, typing told now and then.
  const form = page.querySelector("form.composer");
  if (!form) return;
  const box = form.querySelector("textarea");
  const problem = form.querySelector(".problem");
  const post = (url, fields) => {
    const body = new FormData();
    body.append("csrfmiddlewaretoken", form.querySelector("[name=csrfmiddlewaretoken]").value);
    for (const [name, value] of Object.entries(fields)) body.append(name, value);
    return fetch(url, { method: "POST", body, credentials: "same-origin", headers: { Accept: "application/json" } });
  };
  const token = () => {
    const bytes = crypto.getRandomValues(new Uint8Array(12));
    return `web-${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
  };
  let sending = Promise.resolve();
  const send = (content) => {
    const name = token();
    const once = async (left) => {
      try {
        const answer = await post(form.action, { content, token: name });
        if (answer.status >= 500 && left) throw new Error(String(answer.status));
        const told = answer.status === 202 ? {} : await answer.json().catch(() => ({ error: words.unsent }));
        problem.textContent = told.error || "";
        problem.hidden = !told.error;
        if (told.error) box.value = box.value ? `${content}\n${box.value}` : content;
      } catch (error) {
        if (left) {
          await new Promise((wake) => { setTimeout(wake, 1000); });
          return once(left - 1);  // the same name: it is stored once
        }
        problem.textContent = words.unsent;
        problem.hidden = false;
        box.value = box.value ? `${content}\n${box.value}` : content;
      }
      return undefined;
    };
    sending = sending.then(() => once(5));
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!box.value.trim()) return;
    send(box.value);
    box.value = "";
    box.focus();
  });
  box.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      form.requestSubmit();
    }
  });
  let told = 0;
  box.addEventListener("input", () => {
    if (!box.value || !state.bursts.length || Date.now() - told < 1000) return;
    told = Date.now();
    post(words.typing, {}).catch(() => {});
  });
  box.focus();
})();
