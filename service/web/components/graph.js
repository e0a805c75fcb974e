// Diagram of a network whose layers take the outputs of several others: a node a layer, columns by depth, edges as curves.

import { h, svg } from "../lib/dom.js";

const WIDTH = 130, HEIGHT = 62, GAP_X = 36, GAP_Y = 26, MARGIN = 8;

/** nodes: [{ name, inputs: [name, …], lines: [text, …] }, …], each after its inputs. */
export function graphDiagram(nodes, label) {
  const placed = placeNodes(nodes);
  const right = Math.max(...placed.map((node) => node.x)) + WIDTH + MARGIN;
  const bottom = Math.max(...placed.map((node) => node.y)) + HEIGHT + GAP_Y + MARGIN;
  const byName = new Map(placed.map((node) => [node.name, node]));
  const edges = placed.flatMap((node) => node.inputs.map((name) => edge(byName.get(name), node)));
  return h("div", { class: "graph", tabindex: 0, role: "group", "aria-label": label },
    svg("svg", { width: right, height: bottom, role: "img", "aria-label": placed.map(describe).join("; ") },
      svg("defs", {}, svg("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 8, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" },
        svg("path", { d: "M 0 0 L 8 4 L 0 8 z" }))),
      edges, placed.map(box)));
}

/** A column further right than all inputs; within a column from top to bottom. */
function placeNodes(nodes) {
  const depths = new Map(), inColumn = [];
  return nodes.map((node) => {
    const depth = node.inputs.length ? 1 + Math.max(...node.inputs.map((name) => depths.get(name))) : 0;
    depths.set(node.name, depth);
    const row = inColumn[depth] ?? 0;
    inColumn[depth] = row + 1;
    return { ...node, depth, x: MARGIN + depth * (WIDTH + GAP_X), y: MARGIN + row * (HEIGHT + GAP_Y) };
  });
}

/** A curve; one that passes other columns runs below their first row. */
function edge(from, to) {
  const [x1, y1, x2, y2] = [from.x + WIDTH, from.y + HEIGHT / 2, to.x, to.y + HEIGHT / 2];
  const passes = to.depth - from.depth > 1;
  const low = Math.max(from.y, to.y) + HEIGHT + 4 + 3 * (from.depth % 6); // apart from others
  const d = passes
    ? `M ${x1} ${y1} C ${x1 + GAP_X} ${y1} ${x1} ${low} ${x1 + GAP_X} ${low} L ${x2 - GAP_X} ${low} C ${x2} ${low} ${x2 - GAP_X} ${y2} ${x2} ${y2}`
    : `M ${x1} ${y1} C ${x1 + GAP_X / 2} ${y1} ${x2 - GAP_X / 2} ${y2} ${x2} ${y2}`;
  return svg("path", { class: "edge", d, "marker-end": "url(#arrow)" });
}

function box(node) {
  return svg("g", { class: "node" },
    svg("rect", { x: node.x, y: node.y, width: WIDTH, height: HEIGHT, rx: 8 }),
    node.lines.filter(Boolean).map((line, index) => svg("text", { x: node.x + 8, y: node.y + 17 + 15 * index, class: index ? null : "kind" }, line)));
}

function describe(node) {
  return `${node.name}: ${node.lines.filter(Boolean).join(", ")}${node.inputs.length ? `, takes ${node.inputs.join(" and ")}` : ""}`;
}
