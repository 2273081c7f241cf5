// Pairs of schemas from a seed: a random schema, and what one to three changes make of it. The same seed gives the same pair.
// Some changes break the schema itself (a name that is left without its definition): a registry has to say so.

import { parseSchema } from "../../../src/registry/avro-schema.ts";

export type GeneratedPair = {
  /** The seed, and the names of the changes in their order. */
  readonly title: string;
  readonly before: string;
  readonly after: string;
};

type Json = null | boolean | number | string | Json[] | Node;
type Node = { [key: string]: Json };

/** Pseudo-random numbers (mulberry32). */
class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** From 0 to `below`, without it. */
  below(below: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T;
  }

  /** With that many chances in a hundred. */
  chance(percent: number): boolean {
    return this.below(100) < percent;
  }
}

const primitives = ["int", "long", "float", "double", "string", "bytes", "boolean", "null"];
const annotated: readonly Node[] = [
  { type: "int", logicalType: "date" },
  { type: "long", logicalType: "timestamp-millis" },
  { type: "long", logicalType: "timestamp-micros" },
  { type: "string", logicalType: "uuid" },
  { type: "bytes", logicalType: "decimal", precision: 10, scale: 2 },
];

/** One pair. */
export function generatedPair(seed: number): GeneratedPair {
  const random = new Random(seed);
  const schema = new Generator(random).root();
  const before = JSON.stringify(schema);
  const changed = [];
  const count = 1 + random.below(3);
  for (let tries = 0; changed.length < count && tries < 50; tries++) {
    const change = random.pick(changes);
    if (change.make(random, schema, random.pick(placesOf(schema)))) changed.push(change.name);
  }
  return { title: `#${seed}: ${changed.join(", ")}`, before, after: JSON.stringify(schema) };
}

/** Versions of one subject: each is the one before with a change; all are valid, and no two the same. */
export function generatedChain(seed: number, length: number): readonly string[] {
  const random = new Random(seed);
  let schema = new Generator(random).root();
  const chain = [JSON.stringify(schema)];
  for (let tries = 0; chain.length < length && tries < 500; tries++) {
    const next = structuredClone(schema);
    if (!random.pick(changes).make(random, next, random.pick(placesOf(next))) || !isNewSchema(next, chain)) continue;
    chain.push(JSON.stringify(next));
    schema = next;
  }
  return chain;
}

function isNewSchema(schema: Node, chain: readonly string[]): boolean {
  try {
    const { fingerprint } = parseSchema(JSON.stringify(schema));
    return chain.every((text) => parseSchema(text).fingerprint !== fingerprint);
  } catch {
    return false;
  }
}

class Generator {
  readonly #random: Random;
  /** Those that are defined to their end: a record that needs itself would have no value. */
  readonly #names: string[] = [];
  #named = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  root(): Node {
    return { type: "record", name: "Row", namespace: "shop", fields: this.#fields(0) };
  }

  #fields(depth: number): Json[] {
    return Array.from({ length: 1 + this.#random.below(3) }, (_, index) => {
      const type = this.#type(depth + 1, false);
      return { name: `f${index}`, type, ...defaultOf(this.#random, type, 30) };
    });
  }

  #type(depth: number, inUnion: boolean): Json {
    const random = this.#random;
    const roll = random.below(depth > 3 ? 50 : 100);
    if (roll < 35) return random.pick(primitives.slice(0, inUnion ? -1 : undefined));
    if (roll < 50) return { ...random.pick(annotated) };
    if (roll < 58)
      return this.#define("E", (name) => ({
        type: "enum",
        name,
        symbols: ["red", "green", "blue"],
        ...(random.chance(30) ? { default: "red" } : {}),
      }));
    if (roll < 63) return this.#define("F", (name) => ({ type: "fixed", name, size: 4 + random.below(3) }));
    if (roll < 71) return { type: "array", items: this.#type(depth + 1, false) };
    if (roll < 76) return { type: "map", values: this.#type(depth + 1, false) };
    if (roll < 79 && this.#names.length > 0) return random.pick(this.#names);
    if (roll < 82) return inUnion ? "Row" : ["null", "Row"];
    if (roll < 90) return this.#define("R", (name) => ({ type: "record", name, fields: this.#fields(depth + 1) }));
    return inUnion ? "int" : this.#union(depth);
  }

  #union(depth: number): Json {
    const branches: Json[] = ["null"];
    for (let count = 1 + this.#random.below(2); count > 0; count--) {
      const branch = this.#type(depth + 1, true);
      if (!branches.some((other) => kindOf(other) === kindOf(branch))) branches.push(branch);
    }
    return branches;
  }

  #define(prefix: string, definition: (name: string) => Node): Node {
    const name = `${prefix}${this.#named++}`;
    const node = definition(name);
    this.#names.push(name);
    return node;
  }
}

/** What a union may have one of; named types count by their names. */
function kindOf(type: Json): string {
  if (typeof type === "string") return type;
  if (Array.isArray(type) || typeof type !== "object" || type === null) return "union";
  return textOf(type.name ?? type.type);
}

function defaultOf(random: Random, type: Json, percent: number): Node {
  if (!random.chance(percent)) return {};
  if (Array.isArray(type)) return type[0] === "null" ? { default: null } : {};
  const name = typeof type === "string" ? type : textOf((type as Node).type);
  const values: Node = {
    int: 1,
    long: 2,
    float: 1.5,
    double: 2.5,
    string: "s",
    bytes: "b",
    boolean: true,
    null: null,
    enum: "red",
    array: [],
    map: {},
  };
  return name in values ? { default: values[name] as Json } : {};
}

/** A type, and how another is put in its place; `field` when it is a field's own. */
type Place = { readonly type: Json; readonly replace: (type: Json) => void; readonly field: Node | null; readonly inUnion: boolean };

function placesOf(schema: Node): readonly Place[] {
  const places: Place[] = [];
  const visit = (place: Place): void => {
    places.push(place);
    const { type } = place;
    if (Array.isArray(type)) {
      for (const [index, branch] of type.entries())
        visit({ type: branch, replace: (other) => (type[index] = other), field: null, inUnion: true });
    } else if (typeof type === "object" && type !== null) {
      for (const key of ["items", "values"])
        if (key in type) visit({ type: type[key] as Json, replace: (other) => (type[key] = other), field: null, inUnion: false });
      for (const field of fieldsOf(type))
        visit({ type: field.type as Json, replace: (other) => (field.type = other), field, inUnion: false });
    }
  };
  visit({ type: schema, replace: () => undefined, field: null, inUnion: false });
  return places;
}

function fieldsOf(type: Json): Node[] {
  return typeof type === "object" && type !== null && !Array.isArray(type) && Array.isArray(type.fields) ? (type.fields as Node[]) : [];
}

function textOf(json: Json | undefined): string {
  return typeof json === "string" ? json : JSON.stringify(json);
}

function isNode(type: Json, name?: string): type is Node {
  return typeof type === "object" && type !== null && !Array.isArray(type) && (name === undefined || type.type === name);
}

/** Says false where it does not apply. */
type Change = { readonly name: string; readonly make: (random: Random, schema: Node, place: Place) => boolean };

const promotions: Readonly<Record<string, readonly string[]>> = {
  int: ["long", "float", "double"],
  long: ["float", "double"],
  float: ["double"],
  string: ["bytes"],
  bytes: ["string"],
};
const demotions: Readonly<Record<string, readonly string[]>> = { long: ["int"], float: ["int", "long"], double: ["int", "long", "float"] };

function onRecord(name: string, make: (random: Random, record: Node, fields: Node[]) => boolean): Change {
  return { name, make: (random, _schema, { type }) => (isNode(type, "record") ? make(random, type, fieldsOf(type)) : false) };
}

function onField(name: string, make: (random: Random, field: Node) => void): Change {
  return {
    name,
    make: (random, _schema, { field }) => {
      if (field !== null) make(random, field);
      return field !== null;
    },
  };
}

function onNode(name: string, kinds: readonly string[], make: (random: Random, node: Node) => boolean): Change {
  return { name, make: (random, _schema, { type }) => (isNode(type) && kinds.includes(textOf(type.type)) ? make(random, type) : false) };
}

/** `make` gives the type that comes, or undefined. */
function onType(name: string, make: (random: Random, type: Json) => Json | undefined): Change {
  return {
    name,
    make: (random, schema, { type, replace, field, inUnion }) => {
      if (type === schema) return false;
      const other = make(random, type);
      if (other === undefined || (inUnion && Array.isArray(other))) return false;
      replace(other);
      if (random.chance(80)) delete field?.default; // else most pairs would have a default of another type
      return true;
    },
  };
}

const named = ["record", "enum", "fixed"];

function add(fields: Node[], random: Random, more: Node): boolean {
  fields.splice(random.below(fields.length + 1), 0, { name: `g${fields.length}${random.below(10)}`, ...more });
  return true;
}

const changes: readonly Change[] = [
  onRecord("a field with a default comes", (random, _record, fields) => add(fields, random, { type: "int", default: 7 })),
  onRecord("a nullable field comes", (random, _record, fields) => add(fields, random, { type: ["null", "string"], default: null })),
  onRecord("a field without a default comes", (random, _record, fields) => add(fields, random, { type: random.pick(primitives) })),
  onRecord("a field goes", (random, _record, fields) => fields.splice(random.below(fields.length), 1).length > 0),
  onRecord("fields change places", (_random, record, fields) => {
    record.fields = fields.toReversed();
    return fields.length > 1;
  }),
  onField("a field is renamed", (_random, field) => (field.name = `${textOf(field.name)}x`)),
  onField("a field is renamed with an alias", (_random, field) =>
    Object.assign(field, { name: `${textOf(field.name)}y`, aliases: [field.name] }),
  ),
  onField("a default changes, comes or goes", (random, field) => {
    delete field.default;
    Object.assign(field, defaultOf(random, field.type as Json, 70));
  }),
  {
    name: "a default that is no symbol of its enum comes",
    make: (_random, _schema, { type, field }) => {
      if (field !== null && isNode(type, "enum")) field.default = "violet";
      return field !== null && isNode(type, "enum");
    },
  },
  onType("a promotion", (random, type) =>
    typeof type === "string" && type in promotions ? random.pick(promotions[type] ?? []) : undefined,
  ),
  onType("a demotion", (random, type) => (typeof type === "string" && type in demotions ? random.pick(demotions[type] ?? []) : undefined)),
  onType("another primitive", (random, type) => (typeof type === "string" ? random.pick(primitives) : undefined)),
  onType("it becomes nullable", (_random, type) => (Array.isArray(type) || type === "null" ? undefined : ["null", type])),
  onType("it becomes required", (_random, type) => (Array.isArray(type) && type.length > 1 ? type[1] : undefined)),
  onType("it becomes an array", (_random, type) => (Array.isArray(type) ? undefined : { type: "array", items: type })),
  onType("a union's branches change places", (_random, type) => (Array.isArray(type) && type.length > 1 ? type.toReversed() : undefined)),
  onType("a union gets a branch", (random, type) => {
    const branch = random.pick(primitives);
    return Array.isArray(type) && !type.some((other) => kindOf(other) === branch) ? [...type, branch] : undefined;
  }),
  onType("a union loses a branch", (random, type) =>
    Array.isArray(type) && type.length > 1 ? type.toSpliced(random.below(type.length), 1) : undefined,
  ),
  onType("a logical type comes", (random, type) => {
    const fitting = annotated.filter((node) => node.type === type);
    return fitting.length > 0 ? { ...random.pick(fitting) } : undefined;
  }),
  onType("a logical type goes", (_random, type) => (isNode(type) && "logicalType" in type ? type.type : undefined)),
  onNode("a decimal's scale changes", ["bytes"], (random, node) => Object.assign(node, { scale: 3 + random.below(2) }) === node),
  onNode("a decimal's precision changes", ["bytes"], (random, node) => Object.assign(node, { precision: 11 + random.below(2) }) === node),
  onNode("another logical type", ["long"], (_random, node) => {
    node.logicalType = node.logicalType === "timestamp-micros" ? "local-timestamp-micros" : "timestamp-micros";
    return true;
  }),
  onNode("an enum gets a symbol", ["enum"], (_random, node) => (node.symbols as Json[]).push(`more${(node.symbols as Json[]).length}`) > 0),
  onNode("an enum loses a symbol", ["enum"], (random, node) => {
    const symbols = node.symbols as Json[];
    return symbols.length > 1 && symbols.splice(random.below(symbols.length), 1).length > 0;
  }),
  onNode("an enum's default comes or goes", ["enum"], (_random, node) => {
    if ("default" in node) delete node.default;
    else node.default = (node.symbols as Json[])[0] as Json;
    return true;
  }),
  onNode("a fixed changes its size", ["fixed"], (_random, node) => {
    node.size = Number(node.size) + 1;
    return true;
  }),
  onNode("a name changes", named, (_random, node) => {
    node.name = `${textOf(node.name)}x`;
    return true;
  }),
  onNode("a name changes, with an alias", named, (_random, node) => {
    const { name } = node;
    return Object.assign(node, { name: `${textOf(name)}y`, aliases: [name] }) === node;
  }),
  onNode("a namespace comes or changes", named, (_random, node) => Object.assign(node, { namespace: "store" }) === node),
  onNode("doc comes", [...named], (_random, node) => Object.assign(node, { doc: "words" }) === node),
  onNode("an array and a map change places", ["array", "map"], (_random, node) => {
    const { type, items, values } = node;
    delete node.items;
    delete node.values;
    Object.assign(node, type === "array" ? { type: "map", values: items } : { type: "array", items: values });
    return true;
  }),
];
