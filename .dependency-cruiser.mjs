// Who may import whom (docs/design.md, Folders). test/unit/house/import-rules.test.ts breaks each rule once and expects it to fire.

/** The parts that know one thing each and nothing of one another. What two of them share belongs in core. */
const PARTS = "postgres|avro|registry|log|telemetry|config";
/** The places that wire parts together. */
const WIRING = "^src/(main|service|supervise|parts)\\.ts$|^src/(commands|quickstart|service)/";

const rule = (name, comment, from, to) => ({ name, comment, severity: "error", from, to });

export default {
  forbidden: [
    rule(
      "core-alone",
      "core is pure vocabulary: it imports core only. Record batches, which source and logs share, need a CRC-32C.",
      { path: "^src/core/" },
      { pathNot: "^src/core/|/@node-rs/crc32/" },
    ),
    rule(
      "parts-apart",
      "postgres, avro, registry, log, telemetry and config import themselves and core.",
      { path: `^src/(${PARTS})/` },
      { path: "^src/", pathNot: "^src/($1|core)/" },
    ),
    rule(
      "logs-apart",
      "The two event logs do not know each other.",
      { path: "^src/log/(kafka|embedded)/" },
      {
        path: "^src/log/(kafka|embedded)/",
        pathNot: "^src/log/$1/",
      },
    ),
    rule(
      "source-reach",
      "A source imports core, avro and postgres; logs and registries come to it as ports.",
      { path: "^src/source/" },
      {
        path: "^src/",
        pathNot: "^src/(source|core|avro|postgres)/",
      },
    ),
    rule(
      "sink-reach",
      "A sink imports core and avro; warehouses, logs and registries come to it as ports.",
      { path: "^src/sink/" },
      {
        path: "^src/",
        pathNot: "^src/(sink|core|avro)/",
      },
    ),
    rule(
      "warehouse-reach",
      "A warehouse imports core, where the merge plan is.",
      { path: "^src/warehouses/" },
      {
        path: "^src/",
        pathNot: "^src/(warehouses|core)/",
      },
    ),
    rule(
      "warehouses-apart",
      "A warehouse does not know another.",
      { path: "^src/warehouses/([^/]+)/" },
      {
        path: "^src/warehouses/[^/]+/",
        pathNot: "^src/warehouses/$1/",
      },
    ),
    rule("wiring-on-top", "Only the wiring sees the wiring.", { path: "^src/", pathNot: WIRING }, { path: WIRING }),
    rule(
      "folder-without-rule",
      "A new folder of src needs a rule here before it may import others.",
      { path: "^src/", pathNot: `${WIRING}|^src/(core|${PARTS}|source|sink|warehouses)/` },
      { path: "^src/" },
    ),
    rule(
      "src-alone",
      "The product imports nothing from tests, benchmarks or scripts.",
      { path: "^src/" },
      { path: "^(test|bench|scripts)/" },
    ),
    rule("no-dev-package", "What the product imports is in `dependencies`.", { path: "^src/" }, { dependencyTypes: ["npm-dev"] }),
    rule("no-unlisted-package", "What is imported is in package.json.", {}, { dependencyTypes: ["npm-no-pkg", "npm-unknown"] }),
    rule("no-unresolved", "Every import leads somewhere; dist is there after a build.", {}, { couldNotResolve: true, pathNot: "/dist/" }),
    rule("no-cycle", "No cycles, types included.", {}, { circular: true }),
    rule(
      "no-drawer",
      "Name a file after what it knows.",
      {},
      { path: "(^|/)(utils?|helpers?|common|managers?|misc)(/|\\.[a-z]+$)", pathNot: "node_modules" },
    ),
    rule("no-orphan", "A file that nobody imports and that imports nothing is dead.", { orphan: true, path: "^src/" }, {}),
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    exclude: { path: "^(dist|dist-bench|coverage)/" },
    tsPreCompilationDeps: true, // `import type` couples as well
    tsConfig: { fileName: "tsconfig.json" },
    enhancedResolveOptions: { exportsFields: ["exports"], conditionNames: ["import", "node", "require", "default", "types"] },
  },
};
