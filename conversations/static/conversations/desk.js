// A reply that is being written is kept in the browser, for each colleague and conversation, until it is sent: whatever
// happens to the page, the panel or the session meanwhile. It carries the token that makes the server store it once.
(() => {
  const page = document.querySelector(".transcript-page");
  if (!page) return;
  const words = page.dataset;
  const prefix = "parley.reply.";
  const key = `${prefix}${words.person}.${words.conversation}`;
  const KEPT_FOR = 7 * 86_400_000;  // ms
  const stored = (name) => {
    try {
      return JSON.parse(localStorage.getItem(name));
    } catch {
      return null;
    }
  };
  const keep = (text, token) => {
    try {
      if (text) localStorage.setItem(key, JSON.stringify({ text, token, at: Date.now() }));
      else localStorage.removeItem(key);
    } catch { /* a browser without storage keeps the text in the box alone */ }
  };
  const forgetOld = () => {
    try {
      for (const name of Object.keys(localStorage).filter((one) => one.startsWith(prefix))) {
        if (!(Date.now() - (stored(name)?.at || 0) < KEPT_FOR)) localStorage.removeItem(name);
      }
    } catch { /* nothing is stored */ }
  };
  const desk = () => {
    const form = page.querySelector("form.reply");
    if (!form) return null;
    const at = (selector) => form.querySelector(selector);
    return { form, box: at("textarea"), token: at("[name=token]"), problem: at(".problem"), note: at(".note"), button: at("button") };
  };
  const say = (line, text) => {
    line.textContent = text;
    line.hidden = !text;
  };
  const freshToken = () => {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    const digits = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  };

  const restore = () => {
    const draft = stored(key);
    const { box, token } = desk() || {};
    if (!draft?.text) return;
    if (box) {
      if (!box.value) [box.value, token.value] = [draft.text, draft.token];
    } else if (!page.querySelector(".desks .kept")) {
      const kept = document.createElement("div");
      const text = document.createElement("p");
      kept.className = "hint kept";
      kept.textContent = words.kept;
      text.className = "said";
      text.dir = "auto";
      text.textContent = draft.text;
      kept.append(text);
      page.querySelector(".desks").append(kept);
    }
  };

  // A form that was out of date is sent once more with the key of a fresh page; who is logged out gets no such page.
  const renewed = async () => {
    const answer = await fetch(words.here, { credentials: "same-origin" });
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const found = fresh.querySelector(".transcript-page form [name=csrfmiddlewaretoken]");
    if (!found) return false;
    for (const field of page.querySelectorAll("[name=csrfmiddlewaretoken]")) field.value = found.value;
    return true;
  };
  const post = async (form, again = true) => {
    const answer = await fetch(form.action, {
      method: "POST", body: new FormData(form), credentials: "same-origin", headers: { Accept: "application/json" },
    });
    if ((answer.headers.get("Content-Type") || "").includes("json")) return answer.json();
    if (answer.status >= 500) return { error: words.unsent };
    if (answer.status === 403 && again && await renewed()) return post(form, false);
    return { error: words.loggedOut, login: true };
  };
  const send = async () => {
    const { form, box, token, problem, note, button } = desk();
    const text = box.value;
    if (!text.trim() || button.disabled) return;
    button.disabled = true;
    say(problem, "");
    say(note, "");
    keep(text, token.value);
    const told = await post(form).catch(() => ({ error: words.unsent }));
    button.disabled = false;
    say(problem, told.error || "");
    say(note, told.note || "");
    if (told.login) {
      const link = document.createElement("a");
      link.href = words.here;
      link.textContent = words.login;
      problem.append(" ", link);
    }
    if (told.error) return;
    token.value = freshToken();
    if (box.value === text) box.value = "";
    keep(box.value, token.value);
    page.dispatchEvent(new Event("desk-sent"));
  };

  page.addEventListener("input", (event) => {
    if (event.target.matches("form.reply textarea")) keep(event.target.value, desk().token.value);
  });
  page.addEventListener("keydown", (event) => {
    if (!event.target.matches("form.reply textarea") || event.isComposing) return;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      event.target.form.requestSubmit();
    }
  });
  page.addEventListener("submit", (event) => {
    if (!event.target.matches("form.reply")) return;
    event.preventDefault();
    event.stopPropagation();
    send();
  });
  page.addEventListener("desk-changed", restore);
  forgetOld();
  restore();
})();
