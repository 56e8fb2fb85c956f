// Draws the mesh as this node sees it: itself in the middle, the others around it in the order of their ids, so that
// nobody jumps when somebody comes or goes; and a line for each bond of its own, for others' bonds it does not know.

const SVG = "http://www.w3.org/2000/svg";
const CENTRE = { x: 300, y: 262 };
const STILL = matchMedia("(prefers-reduced-motion: reduce)");

export function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export class Mesh {
  constructor(root, onSelect) {
    this.root = root;
    this.onSelect = onSelect;
    this.bonds = svg("g");
    this.flows = svg("g", { "aria-hidden": "true" });
    this.discs = svg("g");
    root.append(this.bonds, this.flows, this.discs);
    this.nodes = new Map();
    this.lines = new Map();
    this.leader = null;
  }

  // people: [{id, me, kind, leads, away, suspect, bonded, connected, note}]
  draw(people, leader) {
    const ring = people.filter((person) => !person.me).sort((a, b) => (a.id < b.id ? -1 : 1));
    const places = new Map(people.filter((person) => person.me).map((person) => [person.id, CENTRE]));
    const two = ring.length > 18;
    const narrow = this.root.clientWidth < 420; // a phone: taller than wide, so that names stay readable
    this.root.setAttribute("viewBox", narrow ? "92 0 416 520" : "0 0 600 520");
    const [wide, high] = narrow ? [140, 172] : [225, 190];
    ring.forEach((person, index) => {
      // With an even number half a step further: no bond then runs straight down, through this node's name.
      const angle = ((index + (ring.length % 2 ? 0 : 0.5)) / ring.length) * 2 * Math.PI - Math.PI / 2;
      const inner = two && index % 2 === 1;
      places.set(person.id, {
        x: CENTRE.x + Math.cos(angle) * wide * (inner ? 0.64 : 1),
        y: CENTRE.y + Math.sin(angle) * high * (inner ? 0.64 : 1),
      });
    });
    const seen = new Set(people.map((person) => person.id));
    for (const [id, node] of this.nodes) if (!seen.has(id)) { node.remove(); this.nodes.delete(id); }
    for (const [id, line] of this.lines) if (!seen.has(id)) { line.remove(); this.lines.delete(id); }
    for (const person of people) {
      this.#node(person, places.get(person.id), ring.length);
      if (!person.me) this.#line(person, places.get(person.id), leader);
    }
    if (leader !== this.leader) {
      for (const node of this.nodes.values()) node.classList.remove("fresh");
      if (this.leader !== null && leader && this.nodes.has(leader)) this.nodes.get(leader).classList.add("fresh");
      this.leader = leader ?? "";
    }
  }

  #node(person, place, count) {
    let node = this.nodes.get(person.id);
    if (!node) {
      node = svg("g", { tabindex: 0, role: "button", "data-peer": person.id },
        svg("circle", { class: "halo", r: 31 }), svg("circle", { class: "ring", r: 30 }), svg("circle", { class: "disc", r: 22 }),
        svg("path", { class: "crown", d: "M-11 -5 -5.5 0 0 -9 5.5 0 11 -5 9 8 -9 8z" }), svg("path", { class: "cross", d: "M-8 -8 8 8M8 -8 -8 8" }),
        svg("text", { class: "id", y: 46 }), svg("text", { class: "note", y: 63 }));
      node.addEventListener("click", () => this.onSelect(person.id));
      node.addEventListener("keydown", (event) => {
        if (event.key === "Enter" || event.key === " ") { event.preventDefault(); this.onSelect(person.id); }
      });
      this.nodes.set(person.id, node);
      this.discs.append(node);
    }
    const fresh = node.classList.contains("fresh") ? " fresh" : "";
    node.setAttribute("class", ["node", person.kind, person.me && "me", person.leads && "leads", person.away && "away",
      person.suspect && "suspect"].filter(Boolean).join(" ") + fresh);
    const scale = count > 18 ? 0.62 : count > 10 ? 0.8 : 1;
    node.setAttribute("transform", `translate(${place.x.toFixed(1)} ${place.y.toFixed(1)}) scale(${person.me ? 1.1 : scale})`);
    const above = !person.me && place.y < CENTRE.y - 20; // where no bond runs through them
    node.querySelector(".id").setAttribute("y", above ? -54 : 46);
    node.querySelector(".note").setAttribute("y", above ? -37 : 63);
    node.setAttribute("aria-label", `${person.id.slice(0, 8)}: ${person.note}`);
    node.querySelector(".id").textContent = person.id.slice(0, 8);
    node.querySelector(".note").textContent = person.note;
  }

  #line(person, place, leader) {
    let line = this.lines.get(person.id);
    if (!line) {
      line = svg("line", { x1: CENTRE.x, y1: CENTRE.y });
      this.lines.set(person.id, line);
      this.bonds.append(line);
    }
    line.setAttribute("x2", place.x);
    line.setAttribute("y2", place.y);
    const towards = person.leads || this.nodes.get(leader)?.classList.contains("me");
    line.setAttribute("class", person.bonded ? `bond${towards ? " from-leader" : ""}` : "bond connected");
    line.style.display = person.bonded || person.connected ? "" : "none";
    line.place = place;
  }

  // Entries were committed: they have come from the leader, over our bonds.
  flow(leader) {
    if (STILL.matches || document.hidden || this.flows.childElementCount > 24) return;
    for (const [id, line] of this.lines) {
      if (!line.classList.contains("from-leader")) continue;
      const [from, to] = id === leader ? [line.place, CENTRE] : [CENTRE, line.place];
      const dot = svg("circle", { class: "flow", r: 4.5 });
      this.flows.append(dot);
      dot.animate([{ transform: `translate(${from.x}px, ${from.y}px)` }, { transform: `translate(${to.x}px, ${to.y}px)` }],
        { duration: 520, easing: "ease-in-out" }).finished.finally(() => dot.remove());
    }
  }
}
