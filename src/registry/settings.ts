// Compatibility levels and modes, of the registry and of single subjects. Confluent's "Schema Registry API Reference",
// chapters Config and Mode.
//
// Stored: ["config", subject] → level · ["mode", subject] → mode; under the subject "" the registry's own.
import { compatibilityLevels, type Compatibility } from "../core/schema-registry.ts";
import { refusals, type Refusal } from "./refusals.ts";
import type { RegistryStore } from "./store.ts";

export const modes = ["READWRITE", "READONLY", "READONLY_OVERRIDE", "IMPORT"] as const;

/**
 * READWRITE registers schemas under ids of the registry's own. READONLY registers and deletes nothing; READONLY_OVERRIDE,
 * which is for the registry, neither in subjects whose own mode would. IMPORT takes schemas with the ids that they have elsewhere.
 */
export type Mode = (typeof modes)[number];

/** In place of a subject: the whole registry. */
export const GLOBAL = null;

/** Whose level or mode it is. */
export type Holder = string | typeof GLOBAL;

/** Longer subjects would not fit a key of the store. Kafka's topic names have at most 249 characters. */
const SUBJECT_LIMIT = 512;

const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;

export function isSubject(subject: string): boolean {
  return subject !== "" && subject.length <= SUBJECT_LIMIT && !CONTROL.test(subject);
}

export function readLevel(text: string): Compatibility | Refusal {
  return compatibilityLevels.find((level) => level === text.toUpperCase()) ?? refusals.invalidLevel(compatibilityLevels);
}

export function readMode(text: string): Mode | Refusal {
  return modes.find((mode) => mode === text.toUpperCase()) ?? refusals.invalidMode(modes);
}

/** What writes is for inside a transaction. */
export class Settings {
  readonly #store: RegistryStore;
  readonly #default: Compatibility;

  /** `level` is that of a registry which was never told another. */
  constructor(store: RegistryStore, level: Compatibility) {
    this.#store = store;
    this.#default = level;
  }

  /** The level that registrations in a subject are held to. */
  level(holder: Holder): Compatibility {
    return this.ownLevel(holder) ?? this.ownLevel(GLOBAL) ?? this.#default;
  }

  ownLevel(holder: Holder): Compatibility | undefined {
    return this.#store.get(["config", holder ?? ""]) as Compatibility | undefined;
  }

  setLevel(holder: Holder, level: Compatibility): void {
    this.#store.put(["config", holder ?? ""], level);
  }

  /** The mode that holds in a subject. */
  mode(holder: Holder): Mode {
    return this.ownMode(holder) ?? this.ownMode(GLOBAL) ?? "READWRITE";
  }

  /** READONLY_OVERRIDE of the registry stands for each subject's own. */
  ownMode(holder: Holder): Mode | undefined {
    const global = this.#store.get(["mode", ""]) as Mode | undefined;
    return global === "READONLY_OVERRIDE" ? global : (this.#store.get(["mode", holder ?? ""]) as Mode | undefined);
  }

  setMode(holder: Holder, mode: Mode): void {
    this.#store.put(["mode", holder ?? ""], mode);
  }

  dropLevel(holder: Holder): void {
    this.#store.remove(["config", holder ?? ""]);
  }

  dropMode(holder: Holder): void {
    this.#store.remove(["mode", holder ?? ""]);
  }

  isReadOnly(holder: Holder): boolean {
    return this.mode(holder).startsWith("READONLY");
  }
}
