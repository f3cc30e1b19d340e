// What is nicer with a script. Every page works without.
"use strict";

// Times in the reader's zone, and which one it is.
const zoned = new Intl.DateTimeFormat(undefined, {
  dateStyle: "medium", timeStyle: "medium",
});
const zone = new Intl.DateTimeFormat(undefined, { timeZoneName: "short" });
for (const time of document.querySelectorAll("time[datetime]")) {
  const at = new Date(time.dateTime);
  if (!Number.isNaN(at.getTime())) {
    const name = zone.formatToParts(at).find((part) => part.type === "timeZoneName");
    time.title = time.textContent;
    time.textContent = `${zoned.format(at)} ${name ? name.value : ""}`;
  }
}

// What was done, or went wrong, is read first.
document.querySelector("[data-focus]")?.focus();

// Copying says that it has.
for (const button of document.querySelectorAll("[data-copy]")) {
  button.setAttribute("aria-live", "polite");
  button.addEventListener("click", async () => {
    const text = document.getElementById(button.dataset.copy).textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not copied";
    }
  });
}

// A form is sent once: what comes second would be answered without the secret.
for (const form of document.querySelectorAll("form[method=post]")) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
  });
}
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
});

// Who ticks an event means these, and who means the usual ones ticks none.
for (const box of document.querySelectorAll("[name=events]")) {
  box.addEventListener("change", () => {
    if (box.checked) document.querySelector("[name=events-mode][value=these]").checked = true;
  });
}
document.querySelector("[name=events-mode][value=usual]")?.addEventListener("change", () => {
  for (const box of document.querySelectorAll("[name=events]")) box.checked = false;
});

// A test takes its time.
for (const form of document.querySelectorAll("form[data-busy]")) {
  form.addEventListener("submit", (event) => {
    const isTest = event.submitter === null || event.submitter.name !== "do" || event.submitter.value === "test";
    const says = document.querySelector(".busy");
    if (isTest && says) says.textContent = form.dataset.busy;
  });
}

// A page with something pending looks again, for a minute, unless somebody is at work in it or does not want it.
const main = document.querySelector("main[data-reload]");
const wanted = document.getElementById("reload");
if (main && wanted) {
  const key = `reloads ${location.pathname}`;
  const count = Number(sessionStorage.getItem(key) ?? 0);
  const every = Number(main.dataset.reload);
  if (sessionStorage.getItem("reload off")) wanted.checked = false;
  wanted.addEventListener("change", () => {
    if (wanted.checked) sessionStorage.removeItem("reload off");
    else sessionStorage.setItem("reload off", "1");
  });
  if (count * every < 60) {
    setTimeout(() => {
      const isBusy = document.activeElement?.closest("form, dialog, [popover]:popover-open");
      if (wanted.checked && !isBusy) {
        sessionStorage.setItem(key, String(count + 1));
        location.reload();
      }
    }, every * 1000);
  } else {
    sessionStorage.removeItem(key);
  }
}
