// The dashboard: reads the event stream and draws what it says. All text from others is set as text, never as markup.
import { Mesh, svg } from "/static/mesh.js";

const $ = (id) => document.getElementById(id);
const CELL = 10; // pixels of one log entry on a tape, as in style.css
const KEEP_AWAY = 60_000; // ms for which a peer that went is still drawn
const MAX_EVENTS = 200;
const PAGE = 1000; // entries that are asked for
const MAX_ENTRIES = 100; // and drawn
const short = (id) => (id ? id.slice(0, 8) : "–");

const now = {
  state: null, peers: new Map(), gone: new Map(), group: null, selected: null, leader: undefined, committed: null, samples: [],
};
let token = sessionStorage.getItem("token");
const mesh = new Mesh($("mesh"), select);

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) key === "class" ? (made.className = value) : made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// --- the stream. By fetch, for an EventSource cannot send a token.

function ask(path, options = {}) {
  const headers = { ...(options.headers ?? {}), ...(token ? { authorization: `Bearer ${token}` } : {}) };
  return fetch(path, { ...options, headers, cache: "no-store" });
}

async function follow() {
  let last = null;
  for (let wait = 500; ; wait = Math.min(wait * 1.6, 5000)) {
    try {
      const answer = await ask(`/v1/events?recent=${last ? 0 : 50}`, { headers: last ? { "last-event-id": last } : {} });
      if (answer.status === 401) return askToken();
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      sessionStorage.setItem("token", token ?? "");
      link("live", "live");
      wait = 500;
      for await (const event of parsed(answer.body)) {
        if (event.id) last = event.id;
        take(event.name, JSON.parse(event.data));
      }
    } catch (error) { console.debug(error); }
    link("lost", "the node does not answer; trying again");
    await new Promise((done) => setTimeout(done, wait));
  }
}

async function* parsed(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    // The node says something every 10 s: silence beyond that is a dead connection.
    let timer;
    const silence = new Promise((_, fail) => { timer = setTimeout(() => fail(new Error("silent")), 25_000); });
    const { value, done } = await Promise.race([reader.read(), silence]).finally(() => clearTimeout(timer));
    if (done) return;
    const blocks = (text + value).split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const event = {};
      for (const line of block.split("\n")) {
        const at = line.indexOf(": ");
        if (at > 0) event[line.slice(0, at)] = line.slice(at + 2);
      }
      if (event.data) yield { name: event.event, data: event.data, id: event.id };
    }
  }
}

function take(name, data) {
  if (name === "state") { now.state = data; drawState(); }
  else if (name === "peers") { takePeers(data); drawMesh(); }
  else if (name === "peer") addEvent(data.time, `${short(data.peer_id)} ${data.kind}`, data.reason, data.kind === "lost" || data.kind === "suspect" ? "bad" : "");
  else if (name === "group") takeGroupEvent(data);
  else if (name === "map") refreshMap();
  else if (name === "reset") addEvent(Date.now() / 1000, "some events were missed", "");
}

function takePeers(list) {
  const fresh = new Map(list.map((peer) => [peer.peer_id, peer]));
  for (const [id, peer] of now.peers) if (!fresh.has(id)) now.gone.set(id, { ...peer, since: Date.now() });
  for (const id of fresh.keys()) now.gone.delete(id);
  now.peers = fresh;
}

function takeGroupEvent(event) {
  if (event.kind === "role") return;
  const words = event.kind === "leader"
    ? (event.peer_id ? `${short(event.peer_id)} leads group ${event.group} in term ${event.term}` : `group ${event.group} has no leader`)
    : `${event.group}: ${event.text}`;
  const leads = event.kind === "leader" && event.peer_id;
  addEvent(event.time, words, "", leads ? "leader-event" : ["leader", "bond lost"].includes(event.kind) ? "bad" : "");
}

function addEvent(time, text, more, kind = "") {
  const when = new Date(time * 1000);
  const line = element("li", {}, element("time", { datetime: when.toISOString() }, when.toLocaleTimeString([], { hour12: false })),
    element("span", { class: kind }, text + (more ? `: ${more}` : "")));
  $("events").prepend(line);
  while ($("events").childElementCount > MAX_EVENTS) $("events").lastChild.remove();
}

// --- drawing

function group() {
  const groups = now.state?.groups ?? [];
  return groups.find((one) => one.id === now.group) ?? groups[0] ?? null;
}

function drawState() {
  $("main").hidden = false;
  $("network").textContent = now.state.network;
  document.title = `${now.state.network} · p2praft`;
  $("me").textContent = short(now.state.peer_id);
  $("copy").hidden = !navigator.clipboard;
  drawTabs();
  drawLeader();
  drawLogs();
  drawMesh();
}

function drawTabs() {
  const groups = now.state.groups;
  $("tabs").hidden = groups.length < 2;
  $("map-card").hidden = !groups.length;
  const wanted = groups.map((one) => one.id).join();
  if ($("tabs").dataset.of !== wanted) {
    $("tabs").dataset.of = wanted;
    $("tabs").replaceChildren(...groups.map((one) => {
      const button = element("button", { type: "button", "data-group": one.id }, one.name);
      button.addEventListener("click", () => { now.group = one.id; now.leader = undefined; now.committed = null; now.samples = []; drawState(); refreshMap(); });
      return button;
    }));
  }
  for (const button of $("tabs").children) button.setAttribute("aria-current", String(button.dataset.group === group()?.id));
}

function drawLeader() {
  const one = group();
  const panel = $("leader");
  panel.toggleAttribute("data-none", !one?.leader);
  if (!one) { put("leader-label", "this node serves no group"); put("leader-who", "–"); return; }
  const waits = one.waits_for ? `${one.voters.length ? ":" : ", not founded yet:"} it ${one.waits_for}` : "";
  put("leader-label", one.leader ? `leads group ${one.name}${one.is_leader ? ", and is this node" : ""}` : `group ${one.name}${waits}`);
  put("leader-who", one.leader ? short(one.leader) : "no leader");
  put("term", one.term);
  put("voters", one.voters.length);
  if (now.leader !== undefined && one.leader && one.leader !== now.leader) {
    panel.classList.remove("changed");
    void panel.offsetWidth; // so that the animation begins anew
    panel.classList.add("changed");
  }
  if (one.leader) now.leader = one.leader;
  if (now.committed !== null && one.committed > now.committed) { mesh.flow(one.leader); refreshMap(); }
  if (now.committed === null) refreshMap();
  now.committed = one.committed;
  put("committed", one.committed.toLocaleString("en"));
}

function put(id, text) {
  if ($(id).textContent !== String(text)) $(id).textContent = text; // an unchanged live region stays silent
}

function sample() {
  const one = group();
  if (!one) return;
  const at = performance.now() / 1000;
  now.samples.push([at, one.committed]);
  while (now.samples.length > 61) now.samples.shift();
  const rates = now.samples.slice(1).map(([time, count], index) => Math.max(0, count - now.samples[index][1]) / (time - now.samples[index][0]));
  const recent = rates.slice(-3);
  put("rate", recent.length ? (recent.reduce((a, b) => a + b, 0) / recent.length).toFixed(recent.some((r) => r >= 10) ? 0 : 1) : "–");
  const top = Math.max(1, ...rates);
  const points = rates.map((rate, index) => `${(120 - (rates.length - 1 - index) * 2).toFixed(1)} ${(31 - (rate / top) * 29).toFixed(1)}`);
  if (points.length > 1) {
    const first = points[0].split(" ")[0];
    $("spark").replaceChildren(svg("path", { class: "area", d: `M${first} 32 L${points.join(" L")} L120 32Z` }), svg("path", { d: `M${points.join(" L")}` }));
  }
  for (const [id, peer] of now.gone) if (Date.now() - peer.since > KEEP_AWAY) { now.gone.delete(id); drawMesh(); }
}

function roleOf(member) {
  if (member.leader) return "leader";
  if (member.voter) return "voter";
  return member.observer ? "observer" : "stands by";
}

function drawMesh() {
  if (!now.state) return;
  const one = group();
  const members = new Map((one?.members ?? []).map((member) => [member.peer_id, member]));
  const ids = new Set([now.state.peer_id, ...members.keys(), ...now.peers.keys(), ...now.gone.keys()]);
  const people = [...ids].map((id) => {
    const member = members.get(id);
    const peer = now.peers.get(id) ?? now.gone.get(id);
    const me = id === now.state.peer_id;
    const away = !me && (now.gone.has(id) || (!now.peers.has(id) && !member?.bonded) || (member?.voter && !member.bonded));
    const leads = Boolean(member?.leader) && !away;
    const kind = !member ? "guest" : member.voter ? "voter" : member.observer ? "observer" : "member";
    const rtt = member?.rtt ?? peer?.rtt;
    const notes = [member ? roleOf({ ...member, leader: leads }) : away ? "gone" : "in the network"];
    if (away && member) notes.push("away");
    else if (peer?.status === "suspect") notes.push("suspected");
    if (!me && !away && rtt) notes.push(`${(rtt * 1000).toFixed(1)} ms`);
    if (me) notes.push("this node");
    return { id, me, kind, leads, away, suspect: !away && peer?.status === "suspect", bonded: Boolean(member?.bonded) && !me, connected: peer?.rtt != null && !away, note: notes.join(" · ") };
  });
  mesh.draw(people, one?.leader ?? null);
  drawDetail();
}

function drawLogs() {
  const one = group();
  if (!one) { $("logs").replaceChildren(); return; }
  const last = Math.max(one.log_position.index, ...one.members.map((member) => member.match ?? 0));
  put("log-about", one.is_leader ? "of every member, as this leader knows it" : "of this node; the leader's page shows all");
  const known = new Map([...$("logs").querySelectorAll(".tape")].map((tape) => [tape.dataset.peer, tape]));
  const members = one.members.filter((member) => member.match !== null);
  if (members.map((m) => m.peer_id).join() !== [...known.keys()].join()) {
    $("logs").replaceChildren(...members.flatMap((member) => [
      element("span", { class: "id" }, short(member.peer_id)),
      element("div", { class: "tape", "data-peer": member.peer_id }, element("div", { class: "fill" }), element("div", { class: "fill committed" })),
      element("span", { class: "at" }),
    ]));
  }
  for (const tape of $("logs").querySelectorAll(".tape")) {
    const member = members.find((m) => m.peer_id === tape.dataset.peer);
    tape.classList.toggle("leads", member.leader);
    tape.previousSibling.className = `id${member.leader ? " leads" : ""}${member.bonded ? "" : " away"}`;
    tape.previousSibling.title = roleOf(member);
    const [all, committed] = tape.children;
    move(all, last, member.match);
    move(committed, last, Math.min(member.match, one.committed));
    const lag = last - member.match;
    tape.nextSibling.textContent = member.match.toLocaleString("en") + (lag ? ` (${lag} behind)` : "");
  }
}

function move(fill, last, index) {
  fill.style.right = `${(last - index) * CELL}px`;
  fill.style.backgroundPosition = `right ${(index % 10_000) * CELL}px top`; // cells slide to the left as the log grows
}

function select(id) {
  now.selected = now.selected === id ? null : id;
  drawDetail();
}

function drawDetail() {
  const id = now.selected;
  const box = $("detail");
  box.hidden = !id;
  if (!id) return;
  const member = group()?.members.find((one) => one.peer_id === id);
  const peer = now.peers.get(id) ?? now.gone.get(id);
  const rows = [["id", element("code", {}, id)], ["role", member ? roleOf(member) : "no member of this group"]];
  if (id === now.state.peer_id) rows.push(["address", element("code", {}, now.state.address)]);
  if (peer) rows.push(["addresses", peer.addresses.join(", ")], ["tags", peer.tags.join(", ") || "–"], ["status", now.gone.has(id) ? "gone" : peer.status]);
  const rtt = member?.rtt ?? peer?.rtt;
  if (rtt) rows.push(["round trip", `${(rtt * 1000).toFixed(2)} ms`]);
  const list = element("dl", {}, ...rows.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
  if (box.textContent !== list.textContent) box.replaceChildren(list);
}

// --- the map

let refreshing = false;
let again = false;
const versions = new Map();

async function refreshMap() {
  if (refreshing) { again = true; return; }
  const one = group();
  if (!one || document.hidden) return;
  refreshing = true;
  try {
    const answer = await ask(`/v1/map/${encodeURIComponent(one.name)}?consistency=weak&limit=${PAGE}`);
    const found = answer.ok ? await answer.json() : null;
    $("map-card").hidden = answer.status === 404;
    if (found && one.id === group()?.id) drawMap(one, found);
  } catch (error) { console.debug(error); } finally {
    setTimeout(() => { refreshing = false; if (again) { again = false; refreshMap(); } }, 400);
  }
}

function drawMap(one, entries) {
  entries.sort((a, b) => b.version - a.version);
  const count = entries.length < PAGE ? entries.length.toLocaleString("en") : `the first ${PAGE.toLocaleString("en")}`;
  put("map-about", `replicated by group ${one.name}, ${count} ${entries.length === 1 ? "entry" : "entries"}, newest first`);
  const first = versions.size === 0;
  $("entries").replaceChildren(...entries.slice(0, MAX_ENTRIES).map((entry) => {
    const drop = element("button", { type: "button", "aria-label": `Delete ${entry.key}`, title: "Delete" }, "×");
    drop.addEventListener("click", () => change("DELETE", entry.key));
    const fresh = !first && versions.get(entry.key) !== entry.version;
    return element("tr", { class: fresh ? "fresh" : "" }, element("td", { class: "key" }, entry.key),
      element("td", {}, (typeof entry.value === "string" ? entry.value : JSON.stringify(entry.value)).slice(0, 200)),
      element("td", { class: "version", title: "version" }, String(entry.version)), element("td", { class: "drop" }, drop));
  }));
  versions.clear();
  for (const entry of entries) versions.set(entry.key, entry.version);
  versions.set("", 0);
}

async function change(method, key, value) {
  const one = group();
  const began = performance.now();
  say("…");
  try {
    const answer = await ask(`/v1/map/${encodeURIComponent(one.name)}/${encodeURIComponent(key)}`, { method, body: value });
    const said = await answer.json();
    const took = (performance.now() - began).toFixed(0);
    say(answer.ok ? `version ${said.version}, held by a majority after ${took} ms` : said.message, !answer.ok);
    return answer.ok;
  } catch { say("the node did not answer", true); return false; } finally { refreshMap(); }
}

function say(text, bad = false) {
  $("put-said").toggleAttribute("data-bad", bad);
  $("put-said").textContent = text;
}

$("put").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = $("value").value;
  let value = JSON.stringify(text); // as on the command line: JSON if it parses as JSON, else text
  try { JSON.parse(text); value = text; } catch { /* text */ }
  if (await change("PUT", $("key").value, value)) { $("put").reset(); $("key").focus(); }
});

$("copy").addEventListener("click", async () => {
  await navigator.clipboard.writeText(now.state.address);
  $("copy").textContent = "copied";
  setTimeout(() => { $("copy").textContent = "copy address"; }, 1500);
});

// --- token and link

function link(state, text) {
  $("link").dataset.state = state;
  put("link", text);
  document.body.toggleAttribute("data-stale", state === "lost");
}

function askToken() {
  $("token-wrong").hidden = !token;
  token = null;
  sessionStorage.removeItem("token");
  $("main").hidden = true;
  $("token-form").hidden = false;
  link("lost", "a token is needed");
  $("token").focus();
}

$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token = $("token").value.trim();
  $("token").value = "";
  $("token-form").hidden = true;
  link("connecting", "connecting");
  follow();
});

if (location.hash.startsWith("#token=")) {
  token = decodeURIComponent(location.hash.slice(7));
  history.replaceState(null, "", location.pathname); // a token must not stay in the address bar
}
document.addEventListener("visibilitychange", () => { if (!document.hidden) refreshMap(); });
setInterval(sample, 1000);
follow();
