"use strict";
// What all pages share: the key, the state of the server, and calls to it. Text of models and people goes into
// textContent and value alone, never into HTML.
const $ = (id) => document.getElementById(id);
const remembered = {
  get: (name) => sessionStorage.getItem(name) || "",
  set: (name, value) => sessionStorage.setItem(name, value),
};
if (location.hash.startsWith("#key=")) {           // a link may carry the key; it leaves the address bar at once
  remembered.set("key", decodeURIComponent(location.hash.slice(5)));
  history.replaceState(null, "", location.pathname);
}
const changed = { key: () => {}, model: () => {} };   // what a page does when the key or the served model changes
let digest = null;

function call(path, body, signal) {
  return fetch(path, {
    method: body === undefined ? "GET" : "POST",
    headers: { "authorization": "Bearer " + remembered.get("key"), "content-type": typeof body === "string" ? "text/plain" : "application/json" },
    body: body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body),
    signal,
  });
}
async function fault(response) {
  $("key").classList.toggle("missing", response.status === 401);
  if (response.status === 401) return "Paste the API key into the field above: it is in endpoint/api_key of the state folder.";
  try { return (await response.json()).error.message; } catch { return "the server answered with status " + response.status; }
}
async function ask(path, body) {                    // the JSON of an answer; an Error that says what is wrong
  const response = await call(path, body);
  if (!response.ok) throw new Error(await fault(response));
  $("key").classList.remove("missing");
  return response.json();
}
function element(kind, className, text) {
  const made = document.createElement(kind);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}
async function look() {
  const state = $("state");
  try {
    const health = await (await fetch("/health")).json();
    state.className = health.digest ? "up" : "";
    state.textContent = health.digest ? "serving " + health.digest.slice(0, 12) : health.error || health.status;
    if (health.digest !== digest) { digest = health.digest; changed.model(); }
  } catch { state.className = "down"; state.textContent = "the server does not answer"; }
  setTimeout(look, 3000);
}
document.querySelector(`nav a[href="${location.pathname}"]`)?.setAttribute("aria-current", "page");
$("key").value = remembered.get("key");
$("key").onchange = () => { remembered.set("key", $("key").value.trim()); changed.key(); };
document.addEventListener("DOMContentLoaded", look);
