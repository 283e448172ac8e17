// Small comforts for pages that already work without them.
// Owns: the eye beside a password, focus on the error message, ticking of password rules while typing, and one answer
// for two presses.
"use strict";

/** Shows or hides one password and names the eye after what it will do next. */
function setEye(eye, input, shown) {
  input.type = shown ? "text" : "password";
  eye.dataset.state = shown ? "shown" : "hidden";
  eye.setAttribute("aria-label", shown ? eye.dataset.hide : eye.dataset.show);
}

for (const eye of document.querySelectorAll("[data-eye]")) {
  const input = document.getElementById(eye.dataset.eye);
  eye.hidden = false;
  setEye(eye, input, false);
  eye.addEventListener("click", () => setEye(eye, input, input.type === "password"));
  // Browsers remember the text of text fields: a password leaves the page as a password.
  input.form.addEventListener("submit", () => setEye(eye, input, false));
}

/** Marks one rule and says its state in words for those who do not see the tick. */
function markRule(rule, met) {
  const list = rule.closest("[data-rules-for]");
  rule.dataset.met = met === null ? "" : met ? "yes" : "no";
  rule.querySelector("[data-said]").textContent = met === null ? "" : met ? list.dataset.yes : list.dataset.notYet;
}

for (const list of document.querySelectorAll("[data-rules-for]")) {
  const input = document.getElementById(list.dataset.rulesFor);
  const rules = [...list.querySelectorAll("[data-pattern]")];
  input.addEventListener("input", () => {
    for (const rule of rules) {
      // While typing nothing is wrong yet: a rule is met or still open, only the server says no.
      markRule(rule, new RegExp(rule.dataset.pattern, "u").test(input.value) || null);
    }
  });
}

// A second press while the answer is on its way would reach a step that is over by then.
const AGAIN_MS = 2000;
for (const form of document.forms) {
  let sent = -AGAIN_MS;
  form.addEventListener("submit", (event) => {
    if (event.timeStamp - sent < AGAIN_MS) event.preventDefault();
    else sent = event.timeStamp;
  });
}

document.getElementById("form-error")?.focus();
