// An open transcript follows its conversation. Bubbles are fetched as the server renders them; what is live is text.
(() => {
  const page = document.querySelector("[data-events]");
  if (!page || !window.EventSource) return;
  const list = page.querySelector("ol.bubbles");
  const words = page.dataset;
  const status = page.querySelector(".live-status");
  const draft = document.createElement("div");
  const drafted = document.createElement("div");
  draft.className = "bubble ours live-draft";
  drafted.className = "said";
  drafted.dir = "auto";
  draft.hidden = true;
  draft.append(drafted);
  status.before(draft);
  const state = { bursts: [], turns: new Map(), ahead: 0 };
  const SOON = 3000;  // ms
  let fetching = Promise.resolve();

  const last = () => {
    const bubbles = list.querySelectorAll("li.bubble");
    return bubbles.length ? Number(bubbles[bubbles.length - 1].id.slice(1)) : -1;
  };
  const nearEnd = () => innerHeight + scrollY >= document.documentElement.scrollHeight - 240;
  const asked = async (address) => {
    const answer = await fetch(address, { credentials: "same-origin" });
    if (!answer.ok) return null;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    return fresh.querySelector(".transcript-page") ? fresh : null;  // else it is the page to log in
  };

  // The panel anew, but for a reply that is being written: its box, its focus and its text stay.
  const renew = (fresh) => {
    const facts = fresh.querySelector(".panel dl");
    page.querySelector(".panel dl").replaceWith(document.adoptNode(facts));
    page.querySelector(".open-bursts").replaceWith(document.adoptNode(fresh.querySelector(".open-bursts")));
    const { mode, deleted } = fresh.querySelector(".transcript-page").dataset;
    words.deleted = deleted;
    if (mode !== words.mode) {
      page.querySelector(".desks").replaceWith(document.adoptNode(fresh.querySelector(".desks")));
      words.mode = mode;
      page.dispatchEvent(new Event("desk-changed"));
    }
  };
  const bring = async () => {
    const fresh = await asked(`${words.here}?after=${last()}`);
    if (!fresh) return;
    const follow = nearEnd();
    const end = last();
    for (const bubble of fresh.querySelectorAll("ol.bubbles > li.bubble")) {
      if (Number(bubble.id.slice(1)) > end) list.append(document.adoptNode(bubble));
    }
    renew(fresh);
    list.querySelectorAll(":scope > li.hint").forEach((nothing) => list.querySelector("li.bubble") && nothing.remove());
    if (follow) page.querySelector(".live-end").scrollIntoView({ block: "end", behavior: "smooth" });
  };
  // What was said before may look otherwise now: every bubble in sight is drawn as the server has it.
  const redraw = async () => {
    const fresh = await asked(location.href.split("#")[0]);
    if (!fresh) return;
    list.parentElement.setAttribute("aria-live", "off");  // nothing of it is new
    for (const bubble of fresh.querySelectorAll("ol.bubbles > li.bubble")) {
      const here = document.getElementById(bubble.id);
      if (here && here.outerHTML !== bubble.outerHTML) here.replaceWith(document.adoptNode(bubble));
    }
    setTimeout(() => list.parentElement.removeAttribute("aria-live"), 1000);
    renew(fresh);
  };
  const then = (act) => { fetching = fetching.then(act, act); };
  page.addEventListener("desk-sent", () => {
    then(bring);
    setTimeout(() => then(redraw), SOON);  // by then the first attempt at its delivery is over
  });

  const running = () => [...state.turns.values()].some((turn) => turn.status === "running");
  const waiting = () => [...state.turns.values()].some((turn) => turn.status === "waiting");
  const show = () => {
    const burst = state.bursts[0];
    let text = "";
    if (running()) text = words.thinking;
    else if (burst) {
      const left = Math.max(0, (Date.parse(burst.flush_at) - Date.now() - state.ahead) / 1000);
      text = left > 0.05 ? words.listening.replace("%s", left.toFixed(1)) : words.due;
    } else if (waiting()) text = words.due;
    if (status.textContent !== text) status.textContent = text;
    status.hidden = !text;
    status.classList.toggle("thinking", running());
    if (!running()) draft.hidden = true;
  };
  setInterval(show, 100);

  const acts = {
    message: () => then(bring),
    burst: (data) => {
      state.bursts = data.bursts;
      if (page.querySelectorAll(".open-bursts > .open-burst").length !== data.bursts.length) then(bring);
    },
    turn: (turn) => { state.turns.set(turn.id, turn); },
    draft: (data) => {
      drafted.textContent = data.text;
      draft.hidden = !data.text;
    },
    deleted: () => then(redraw),
    session: (data) => {
      if (String(data.deleted_count) !== words.deleted || data.mode !== words.mode) then(redraw);
    },
  };
  window.parleyFollow({
    worker: words.worker,
    conversation: words.conversation,
    address: words.events,
    after: last,
    act: ({ name, data }) => {
      state.ahead = data.now * 1000 - Date.now();  // how far the server's clock is ahead of the browser's
      acts[name](data);
      show();
    },
  });

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
