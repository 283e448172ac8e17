// The card page: finds the signer on this computer, lets it ask for certificate and PIN, and posts its answer.
// Every sentence comes from the page (data-message); this file only chooses. No PIN ever passes through here.
(() => {
  "use strict";

  const API = "1"; // major version of the signer's HTTP interface
  const INFO_MS = 1500; // an installed signer answers at once
  const PROMPT_MS = 60000; // the browser's own permission question may be open
  const ANSWER_MS = 180000; // a person looks for glasses, card and PIN
  const LOOK_AGAIN_MS = 2000;
  const LOOK_FOR_MS = 120000;

  const root = document.getElementById("card");
  if (!root) return;
  const ports = root.dataset.ports.split(" ");
  const status = document.getElementById("card-status");
  const start = document.getElementById("card-start");
  const cancel = document.getElementById("card-cancel");
  const form = document.getElementById("card-form");
  const stepNames = ["find", "choose", "pin"];
  const loaded = performance.now();
  let run = null; // {abort, base}: the attempt under way

  /** A refusal that the page can explain: `word` names the sentence, `step` where it went wrong. */
  class Trouble extends Error {
    constructor(word, step, tries) {
      super(word);
      Object.assign(this, { word, step, tries });
    }
  }

  /** Shows one of the page's sentences in the live region. */
  function say(word, { wrong = false, tries = null } = {}) {
    const sentence = root.querySelector(`[data-message="${word}"]`) ?? root.querySelector('[data-message="error"]');
    const copy = sentence.cloneNode(true);
    const number = copy.querySelector("[data-tries]");
    if (number) number.textContent = String(tries);
    status.dataset.tone = wrong ? "wrong" : "";
    status.replaceChildren(...copy.children);
  }

  /** Steps before `name` are done, `name` is in `state`, the others wait. No name: all are done. */
  function step(name, state) {
    const list = root.querySelector(".steps");
    const at = name ? stepNames.indexOf(name) : stepNames.length;
    stepNames.forEach((each, index) => {
      const item = list.querySelector(`[data-step="${each}"]`);
      const now = index < at ? "done" : index === at ? state : "waiting";
      item.dataset.state = now;
      if (now === "now") item.setAttribute("aria-current", "step");
      else item.removeAttribute("aria-current");
      const said = list.dataset[`said${now[0].toUpperCase()}${now.slice(1)}`];
      item.querySelector("[data-said]").textContent = said;
    });
  }

  /** "granted", "prompt", "denied", or "unknown" where the browser has no such permission. */
  async function permission() {
    for (const name of ["loopback-network", "local-network-access"]) {
      try {
        return (await navigator.permissions.query({ name })).state;
      } catch {
        // This browser does not know the name: try the older one.
      }
    }
    return "unknown";
  }

  /** One request to the signer; rejects when nothing answers in `milliseconds` or the person cancels. */
  async function ask(url, milliseconds, body) {
    const signal = AbortSignal.any([run.abort.signal, AbortSignal.timeout(milliseconds)]);
    const post = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
    const answer = await fetch(url, { ...(body ? post : {}), signal, cache: "no-store", credentials: "omit" });
    return { ok: answer.ok, data: await answer.json() };
  }

  /** Waits, but not longer than the person does. */
  function pause(milliseconds) {
    return new Promise((done) => {
      setTimeout(done, milliseconds);
      run.abort.signal.addEventListener("abort", done);
    });
  }

  /** The base address of the first signer that answers, or null. */
  async function find(milliseconds) {
    let old = false;
    for (const port of ports) {
      const base = `http://127.0.0.1:${port}`;
      try {
        const { ok, data } = await ask(`${base}/v1/info`, milliseconds);
        if (!ok && data.error === "origin_not_allowed") throw new Trouble(data.error, "find");
        if (ok && String(data.api).split(".")[0] === API) return base;
        old ||= ok;
      } catch (problem) {
        if (problem instanceof Trouble) throw problem;
        if (run.abort.signal.aborted) throw new Trouble("user_cancelled", "find");
      }
    }
    if (old) throw new Trouble("wrong_version", "find");
    return null;
  }

  /** Looks for the signer, patiently: someone who starts it now need not press anything. */
  async function look() {
    step("find", "now");
    const before = await permission();
    if (before === "denied") throw new Trouble("permission_denied", "find");
    say(before === "prompt" ? "permission_prompt" : "looking");
    const until = performance.now() + LOOK_FOR_MS;
    for (let first = true; performance.now() < until; first = false) {
      const base = await find(first && before === "prompt" ? PROMPT_MS : INFO_MS);
      if (base) return base;
      if ((await permission()) === "denied") throw new Trouble("permission_denied", "find");
      if (first) {
        say("not_running", { wrong: true });
        start.textContent = start.dataset.again;
        start.hidden = false;
      }
      await pause(LOOK_AGAIN_MS);
    }
    throw new Trouble("not_running", "find");
  }

  /** Lets the signer ask the person, and returns the Web eID token. */
  async function authenticate(base) {
    step("choose", "now");
    say("window_open");
    let answer;
    try {
      const question = { challengeNonce: root.dataset.nonce, lang: document.documentElement.lang };
      answer = await ask(`${base}/v1/authenticate`, ANSWER_MS, question);
    } catch (problem) {
      if (run.abort.signal.aborted) throw new Trouble("user_cancelled", "choose");
      throw new Trouble(problem.name === "TimeoutError" ? "user_timeout" : "error", "choose");
    }
    if (answer.ok) return answer.data;
    const { error, triesLeft: tries, lastTry } = answer.data;
    if (error !== "pin_incorrect") throw new Trouble(error, error === "pin_locked" ? "pin" : "choose");
    if (lastTry || tries === 1) throw new Trouble("pin_incorrect_last", "pin");
    throw new Trouble(tries ? "pin_incorrect_left" : error, "pin", tries);
  }

  function showButtons(running) {
    start.hidden = running;
    cancel.hidden = !running;
  }

  async function begin() {
    run?.abort.abort();
    // The question on this page grows old on the server: a fresh page brings a fresh one.
    if (performance.now() - loaded > (Number(root.dataset.seconds) - 30) * 1000) {
      location.replace(location.href);
      return;
    }
    const mine = { abort: new AbortController(), base: null };
    run = mine;
    showButtons(true);
    cancel.focus();
    try {
      if (location.origin !== root.dataset.origin) throw new Trouble("origin_not_allowed", "find");
      mine.base = await look();
      if (run !== mine) return;
      showButtons(true);
      const token = await authenticate(mine.base);
      if (run !== mine) return;
      step(null);
      say("sending");
      cancel.hidden = true;
      form.elements.token.value = JSON.stringify(token);
      form.submit();
    } catch (problem) {
      if (run !== mine) return;
      const trouble = problem instanceof Trouble ? problem : new Trouble("error", "find");
      const stopped = trouble.word === "user_cancelled"; // a choice, not a failure
      step(stopped ? "find" : trouble.step, stopped ? "waiting" : "failed");
      say(trouble.word, { wrong: !stopped, tries: trouble.tries });
      start.textContent = start.dataset.again;
      showButtons(false);
      start.focus();
    }
  }

  start.addEventListener("click", begin);
  cancel.addEventListener("click", () => {
    const { abort, base } = run;
    abort.abort();
    // Best effort: the window closes, or the signer's own time limit closes it.
    const headers = { "Content-Type": "application/json" };
    if (base) fetch(`${base}/v1/cancel`, { method: "POST", headers, body: "{}" }).catch(() => {});
  });
  start.hidden = false;
})();
