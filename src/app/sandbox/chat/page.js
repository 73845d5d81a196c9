"use strict";
// The chat page: shows what the page's server tells it by Server-Sent Events, and posts what is typed.
// Text goes in as text. Only an answer's HTML, which the server has written from Markdown, goes in as HTML.

const TYPING_LASTS = 13000; // A sign is repeated within 10 s for as long as it is true.

const byId = (id) => document.getElementById(id);
const messages = byId("messages");
const scroll = byId("scroll");
const input = byId("text");
const answers = window.trustedTypes?.createPolicy("answers", { createHTML: (html) => html });

let chat = sessionStorage.getItem("chat") ?? beginChat();
let source = null;
let reopen = null;
let typingEnds = null;
let shown = new Set();
let stories = new Map();

function beginChat() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const id = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  sessionStorage.setItem("chat", id);
  return id;
}

function element(tag, properties, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (name === "data") Object.assign(made.dataset, value);
    else made[name] = value;
  }
  made.append(...children.filter((child) => child != null));
  return made;
}

const clock = (at) => new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });

function after(from, to) {
  const ms = Math.max(0, to - from);
  return ms < 1000 ? `+${ms} ms` : `+${(ms / 1000).toFixed(1)} s`;
}

// The chat

function keepAtEnd(change) {
  const atEnd = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 80;
  change();
  if (atEnd) scroll.scrollTop = scroll.scrollHeight;
}

function addEntry(entry) {
  if (shown.has(entry.id)) return;
  shown.add(entry.id);
  byId("welcome").hidden = true;
  keepAtEnd(() => messages.append(entry.from === "user" ? said(entry) : answer(entry)));
  if (entry.from === "user") scroll.scrollTop = scroll.scrollHeight;
}

function said(entry) {
  const status = element("button", { type: "button", className: "meta", textContent: clock(entry.at) });
  status.addEventListener("click", () => pointAt(entry.id));
  stories.set(entry.id, { entry, status, card: null });
  return element(
    "li",
    { className: "user", data: { id: entry.id } },
    element("span", { className: "hidden", textContent: "You: " }),
    element("div", { className: "bubble", textContent: entry.text }),
    status,
  );
}

function answer(entry) {
  const bubble = element("div", { className: "bubble" });
  bubble.innerHTML = answers ? answers.createHTML(entry.html) : entry.html;
  for (const link of bubble.querySelectorAll("a")) {
    link.target = "_blank";
    link.rel = "noopener noreferrer";
  }
  return element(
    "li",
    { className: "fini", data: { id: entry.id } },
    element("span", { className: "hidden", textContent: "Fini (simulated): " }),
    bubble,
    articles(entry.articles),
  );
}

function articles(all) {
  const links = all.filter((article) => /^https?:\/\//.test(article.documentUrl ?? ""));
  if (links.length === 0) return null;
  const made = links.map((article) =>
    element("a", {
      href: article.documentUrl,
      target: "_blank",
      rel: "noopener noreferrer",
      textContent: article.title ?? article.documentUrl,
    }),
  );
  return element("div", { className: "articles" }, "Rests on: ", ...made);
}

function setTyping(on) {
  clearTimeout(typingEnds);
  if (on) typingEnds = setTimeout(() => setTyping(false), TYPING_LASTS);
  keepAtEnd(() => {
    byId("typing").hidden = !on;
  });
}

// What happened

const SIGNS = { done: "✓", failed: "!", active: "", waiting: "", skipped: "" };
const NOTES = { question: "the question", shown: "shown", kept_back: "kept back", if_it_has_text: "shown if it has text" };

function summary(steps) {
  const failed = steps.find((step) => step.state === "failed");
  if (failed) return { state: "failed", text: "failed" };
  const active = steps.find((step) => step.state === "active") ?? steps.find((step) => step.state === "waiting");
  if (active) {
    const words = { stored: "sending", asked: "waiting", answered: "Fini thinks", delivered: "delivering" };
    return { state: "active", text: words[active.name] ?? active.name };
  }
  const last = steps.at(-1);
  if (last?.state === "skipped" || last?.title.startsWith("Nothing")) return { state: "skipped", text: "nothing shown" };
  return { state: "done", text: "answered" };
}

function showProgress(progress) {
  const story = stories.get(progress.message);
  if (!story) return;
  const { state, text } = summary(progress.steps);
  story.status.textContent = `${clock(story.entry.at)} · ${text}`;
  story.status.dataset.state = state;
  story.status.title = "What happened to this message";
  if (!story.card) {
    story.card = card(story.entry);
    for (const other of byId("steps").children) other.open = false;
    byId("steps").prepend(story.card);
    byId("no-steps").hidden = true;
  }
  const badge = story.card.querySelector(".badge");
  badge.textContent = text;
  badge.dataset.state = state;
  const began = progress.steps[0]?.at;
  story.card.querySelector("ol").replaceChildren(...progress.steps.map((step) => stepItem(step, began)));
  setId("chat-ref", progress.chat_ref);
  setId("interaction", progress.interaction_id);
}

function card(entry) {
  return element(
    "details",
    { className: "story", open: true, data: { message: entry.id } },
    element(
      "summary",
      {},
      element("span", { className: "asked-text", textContent: entry.text }),
      element("span", { className: "badge" }),
    ),
    element("ol", {}),
  );
}

function stepItem(step, began) {
  const late = step.at != null && began != null && step.name !== "sent";
  const events = step.events.map((event) =>
    element(
      "span",
      { className: "event", data: { fate: event.fate } },
      `${event.code} `,
      element("b", { textContent: `· ${NOTES[event.fate]}` }),
    ),
  );
  return element(
    "li",
    { data: { step: step.name, state: step.state } },
    element("span", { className: "dot", textContent: SIGNS[step.state], ariaHidden: "true" }),
    element("span", { className: "hidden", textContent: `${step.state}: ` }),
    element(
      "div",
      { className: "row" },
      element("span", { className: "title", textContent: step.title }),
      late ? element("span", { className: "after", textContent: after(began, step.at) }) : null,
    ),
    step.detail ? element("p", { className: "detail", textContent: step.detail }) : null,
    events.length > 0 ? element("div", { className: "events" }, ...events) : null,
  );
}

function setId(id, value) {
  if (!value) return;
  byId(id).textContent = value;
  byId(id).classList.remove("none");
}

function pointAt(message) {
  const found = stories.get(message)?.card;
  if (!found) return;
  openPanel(true);
  found.open = true;
  found.scrollIntoView({ block: "nearest", behavior: "smooth" });
  found.classList.add("pointed");
  setTimeout(() => found.classList.remove("pointed"), 1500);
  found.querySelector("summary").focus({ preventScroll: true });
}

function openPanel(open) {
  document.body.classList.toggle("steps-open", open);
  byId("steps-toggle").setAttribute("aria-expanded", String(open));
}

// The connection

function clear() {
  shown = new Set();
  stories = new Map();
  messages.replaceChildren();
  byId("steps").replaceChildren();
  byId("no-steps").hidden = false;
  byId("welcome").hidden = false;
  byId("chat-id").textContent = chat;
  for (const id of ["chat-ref", "interaction"]) {
    byId(id).textContent = "not yet";
    byId(id).classList.add("none");
  }
  setTyping(false);
}

function connection(state, words) {
  byId("connection").dataset.state = state;
  byId("connection").textContent = words;
}

function open() {
  clearTimeout(reopen);
  source?.close();
  const opened = new EventSource(`/api/chats/${chat}/events`);
  source = opened;
  const on = (name, handle) =>
    opened.addEventListener(name, (event) => {
      if (source === opened) handle(JSON.parse(event.data));
    });
  opened.addEventListener("open", () => connection("open", "connected"));
  opened.addEventListener("error", () => {
    if (source !== opened) return;
    connection("lost", "connection lost, trying again");
    // Some failures end an EventSource for good.
    if (opened.readyState === EventSource.CLOSED) reopen = setTimeout(open, 2000);
  });
  on("snapshot", (all) => {
    messages.ariaBusy = "true";
    clear();
    all.entries.forEach(addEntry);
    all.progress.forEach(showProgress);
    setTyping(all.typing);
    messages.ariaBusy = "false";
    scroll.scrollTop = scroll.scrollHeight;
  });
  on("entry", addEntry);
  on("progress", showProgress);
  on("typing", (sign) => setTyping(sign.typing));
}

async function send(text) {
  byId("problem").hidden = true;
  try {
    const answered = await fetch(`/api/chats/${chat}/messages`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ text }),
    });
    if (!answered.ok) throw new Error(String(answered.status));
    return true;
  } catch {
    byId("problem").textContent = "The message was not taken. Does the sandbox still run?";
    byId("problem").hidden = false;
    return false;
  }
}

// What a person does

function fit() {
  input.style.height = "auto";
  input.style.height = `${input.scrollHeight}px`;
}

byId("composer").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = input.value;
  if (text.trim() === "") return;
  input.value = "";
  fit();
  if (!(await send(text)) && input.value === "") {
    input.value = text;
    fit();
  }
  input.focus();
});

input.addEventListener("input", fit);
input.addEventListener("keydown", (event) => {
  // While an input method composes, Enter belongs to it.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  byId("composer").requestSubmit();
});

byId("new-chat").addEventListener("click", () => {
  chat = beginChat();
  clear();
  openPanel(false);
  open();
  input.focus();
});

byId("steps-toggle").addEventListener("click", () => {
  openPanel(!document.body.classList.contains("steps-open"));
});

async function offerWords() {
  const about = await (await fetch("/api/about")).json();
  const buttons = about.words.map(({ word, brings }) => {
    const button = element("button", { type: "button", textContent: word, title: brings, data: { word } });
    button.addEventListener("click", () => {
      openPanel(false);
      send(`Show me “${word}”`);
    });
    return button;
  });
  byId("words").replaceChildren(element("span", { textContent: "Try" }), ...buttons);
}

clear();
open();
offerWords().catch(() => {});
input.focus();
