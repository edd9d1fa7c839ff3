// Keeps a page current: follows the event stream, fetches the page again and swaps the parts that differ.
// Everything on a page works without it.
"use strict";
(() => {
  const root = document.documentElement;
  const stored = (key) => { try { return localStorage.getItem(key); } catch { return null; } };
  const store = (key, value) => { try { localStorage.setItem(key, value); } catch { /* private window */ } };
  // Before the first paint: this script stands in the head.
  if (stored("theme")) root.dataset.theme = stored("theme");

  const ago = (ms) => {
    const s = Math.max(0, Math.floor(ms / 1000));
    if (s < 90) return s + " s";
    if (s < 5400) return Math.floor(s / 60) + " min";
    if (s < 172800) return Math.floor(s / 3600) + " h";
    return Math.floor(s / 86400) + " d";
  };

  document.addEventListener("DOMContentLoaded", () => {
    const body = document.body;
    const $ = (selector, from = document) => from.querySelector(selector);
    const all = (selector, from = document) => [...from.querySelectorAll(selector)];

    // How far the clock of this machine is from the hub's.
    const served = $("#as-of time");
    const offset = served ? Date.parse(served.dateTime) - Date.now() : 0;
    const age = () => {
      for (const time of all("time[data-ago]")) {
        const text = ago(Date.now() + offset - Date.parse(time.dateTime)) + time.dataset.ago;
        if (time.textContent !== text) time.textContent = text;
      }
    };
    setInterval(age, 5000);

    const theme = $("#theme");
    if (theme) {
      theme.hidden = false;
      theme.addEventListener("click", () => {
        const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
        root.dataset.theme = dark ? "light" : "dark";
        store("theme", root.dataset.theme);
      });
    }

    // Live.
    const status = $("#live"), dot = $("#live-dot"), clock = $("#as-of");
    const say = (word, mark) => {
      if (!status) return;
      if (status.textContent !== word) status.textContent = word;
      dot.className = "dot " + mark;
    };
    let busy = false, again = false, last = 0;
    const isTouched = (part) => {
      const active = document.activeElement;
      const typing = active && part.contains(active) && /^(INPUT|TEXTAREA|SELECT)$/.test(active.tagName);
      return typing || part.dataset.dirty !== undefined;
    };
    const swap = (text) => {
      const fresh = new DOMParser().parseFromString(text, "text/html");
      if (fresh.body.dataset.page !== body.dataset.page) return;
      // A part has come or gone: then the whole is taken, unless somebody has begun to fill something in.
      const parts = (from) => all("main [data-live][id]", from).map((e) => e.id).join();
      const old = $("main > .stack"), whole = $("main > .stack", fresh);
      const filled = (e) => e.value !== e.defaultValue || e.checked !== e.defaultChecked;
      if (old && whole && parts(document) !== parts(fresh) && !isTouched(old) && !all("main textarea, main input").some(filled)) {
        const active = document.activeElement, href = active && old.contains(active) && active.getAttribute("href");
        old.replaceWith(document.importNode(whole, true));
        const to = href && all("main [href]").find((e) => e.getAttribute("href") === href);
        if (to) to.focus({ preventScroll: true });
      }
      for (const part of all("[data-live][id]")) {
        const next = fresh.getElementById(part.id);
        if (!next || part.isEqualNode(next) || isTouched(part)) continue;
        const active = document.activeElement;
        const held = active && part.contains(active) ? active.id || active.getAttribute("href") : null;
        const scrolled = all("[tabindex]", part).map((e) => [e.scrollTop, e.scrollLeft]);
        const node = document.importNode(next, true);
        part.replaceWith(node);
        all("[tabindex]", node).forEach((e, i) => { if (scrolled[i]) [e.scrollTop, e.scrollLeft] = scrolled[i]; });
        if (held) {
          const to = document.getElementById(held) || all("[href]", node).find((e) => e.getAttribute("href") === held);
          if (to) to.focus({ preventScroll: true });
        }
      }
      const time = $("#as-of time", fresh);
      if (time && clock) $("time", clock).replaceWith(document.importNode(time, true));
      age();
    };
    const refresh = async () => {
      if (busy) { again = true; return; }
      busy = true;
      const wait = last + 250 - Date.now();
      if (wait > 0) await new Promise((done) => setTimeout(done, wait));
      last = Date.now();
      try {
        const answer = await fetch(location.href, { headers: { Accept: "text/html" }, credentials: "same-origin" });
        if (answer.redirected && new URL(answer.url).pathname === "/sign-in") { say("Signed out", "hollow"); stop(); }
        else if (answer.ok) swap(await answer.text());
      } catch { say("Not connected", "hollow"); }
      busy = false;
      if (again) { again = false; refresh(); }
    };
    document.addEventListener("input", (event) => {
      const part = event.target.closest("[data-live]");
      if (part) part.dataset.dirty = "";
    });
    let stream = null;
    const stop = () => { if (stream) stream.close(); stream = null; };
    const start = () => {
      if (stream || body.dataset.topics === undefined || !window.EventSource) return;
      const topics = body.dataset.topics ? "topics=" + encodeURIComponent(body.dataset.topics) + "&" : "";
      stream = new EventSource("/events/stream?" + topics + "after=" + body.dataset.cursor);
      stream.onopen = () => say("Live", "ok");
      stream.onmessage = (event) => { body.dataset.cursor = event.lastEventId || body.dataset.cursor; refresh(); };
      stream.onerror = () => {
        say("Not connected", "hollow");
        if (stream && stream.readyState === 2) { stop(); setTimeout(start, 5000); }
      };
    };
    start();
    // What moves with the clock alone (lateness, a run's time) is fetched now and then.
    setInterval(() => { if (stream && !document.hidden) refresh(); }, 15000);
    document.addEventListener("visibilitychange", () => { if (document.hidden) stop(); else { start(); if (stream) refresh(); } });
    addEventListener("pagehide", stop);

    // Keys.
    const dialog = $("#keys"), off = $("#keys-off");
    if (off) {
      off.checked = stored("keys") === "off";
      off.addEventListener("change", () => store("keys", off.checked ? "off" : "on"));
    }
    for (const close of all("[data-close]")) close.addEventListener("click", () => dialog.close());
    const keysButton = $("#keys-open");
    if (keysButton) { keysButton.hidden = false; keysButton.addEventListener("click", () => dialog.showModal()); }
    const places = { o: "/", e: "/ecosystem", r: "/runs", c: "/conflicts", s: "/snapshots", i: "/integrity" };
    let going = 0;
    const move = (by) => {
      const rows = all("main [data-row]").filter((e) => e.offsetParent !== null);
      if (!rows.length) return;
      const at = rows.indexOf(document.activeElement);
      rows[at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, at + by))].focus();
    };
    document.addEventListener("keydown", (event) => {
      const typing = event.target.closest && event.target.closest("input:not([type=radio]):not([type=checkbox]),textarea,select,[contenteditable]");
      const search = $("#q");
      if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k" && search) { event.preventDefault(); search.focus(); return; }
      if (typing || event.ctrlKey || event.metaKey || event.altKey || stored("keys") === "off" || (dialog && dialog.open)) return;
      const key = event.key.toLowerCase();
      if (going && Date.now() - going < 1500 && places[key]) { going = 0; event.preventDefault(); location.href = places[key]; return; }
      going = 0;
      if (key === "g") going = Date.now();
      else if (key === "j") move(1);
      else if (key === "k") move(-1);
      else if (key === "/" && search) { event.preventDefault(); search.focus(); }
      else if (event.key === "?" && dialog) dialog.showModal();
      else {
        const button = /^[a-z]$/.test(key) ? $('main [data-key="' + key + '"]') : null;
        if (button) { event.preventDefault(); button.focus(); if (button.tagName === "A") button.click(); }
      }
    });
  });
})();
