// Type-aware lint. What prettier and the compiler already say is left to them.
import tseslint from "typescript-eslint";

const TYPESCRIPT = ["**/*.ts"];
/** Their tools ask for a default export. */
const TOOL_CONFIGS = ["eslint.config.js", "vitest.config.ts", ".dependency-cruiser.mjs"];

export default tseslint.config(
  { ignores: ["node_modules/", "dist/", "dist-bench/", "coverage/"] },
  { linterOptions: { reportUnusedDisableDirectives: "error" } },
  {
    files: TYPESCRIPT,
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      "@typescript-eslint/consistent-type-imports": ["error", { fixStyle: "separate-type-imports" }],
      "@typescript-eslint/switch-exhaustiveness-check": ["error", { considerDefaultExhaustiveForUnions: true }],
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_" }],
      // `type` and `interface` both read well; unions and ports have their own reasons to be one or the other.
      "@typescript-eslint/consistent-type-definitions": "off",
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true, allowBoolean: true, allow: ["bigint"] }],
      // `return await stop()` ends a branch; that the result is nothing is the function's type.
      "@typescript-eslint/no-confusing-void-expression": "off",
      // Hot loops over buffers index arrays whose bounds the loop has just checked.
      "@typescript-eslint/no-non-null-assertion": "off",
      "@typescript-eslint/prefer-for-of": "off",
      // A port's method may be async although one adapter has nothing to wait for.
      "@typescript-eslint/require-await": "off",
      "@typescript-eslint/no-unnecessary-condition": ["error", { allowConstantLoopConditions: "only-allowed-literals" }],
      "@typescript-eslint/prefer-nullish-coalescing": ["error", { ignorePrimitives: { string: true } }],
    },
  },
  {
    files: ["**/*.{js,mjs,ts}"],
    rules: {
      eqeqeq: ["error", "always"],
      "no-console": "error",
      "no-restricted-exports": ["error", { restrictDefaultExports: { direct: true, named: true, defaultFrom: true, namedFrom: true } }],
      "no-restricted-syntax": [
        "error",
        { selector: "ExportAllDeclaration", message: "No barrel files: import from the file that defines it." },
        { selector: "ExportNamedDeclaration[source]", message: "No barrel files: import from the file that defines it." },
        {
          selector:
            "CallExpression[callee.object.name='AbortSignal'][callee.property.name='any'] CallExpression[callee.property.name='timeout']",
          message: "Node 20 collects that timeout: use deadline() of core/deadline.ts.",
        },
      ],
    },
  },
  { files: TOOL_CONFIGS, rules: { "no-restricted-exports": "off" } },
  {
    files: ["test/**/*.ts", "bench/**/*.ts"],
    rules: {
      "no-console": "off",
      // Answers of foreign programs are asserted on, not modelled.
      "@typescript-eslint/no-unsafe-assignment": "off",
      "@typescript-eslint/no-unsafe-member-access": "off",
      "@typescript-eslint/no-unsafe-argument": "off",
      "@typescript-eslint/no-unsafe-return": "off",
      "@typescript-eslint/no-unsafe-call": "off",
      "@typescript-eslint/unbound-method": "off",
    },
  },
);
