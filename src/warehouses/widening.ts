// Which of a warehouse's types hold every value of which others, told by the names that its catalogue prints.

/** From narrow to wide: each holds, and gives back unchanged, all that those before it hold. */
export type Ladders = readonly (readonly string[])[];

/* decimal ::= ("numeric" | "DECIMAL") "(" precision "," scale ")" */
const DECIMAL = /^(?:numeric|DECIMAL)\((\d+),(\d+)\)$/;

/** Behind the type of an array's items. */
const LIST = "[]";

/** Whether `wide` holds every value of `narrow` and is another type. Decimals: of the same scale, for another would print their values differently. */
export function isWider(wide: string, narrow: string, ladders: Ladders): boolean {
  if (wide.endsWith(LIST) && narrow.endsWith(LIST)) return isWider(wide.slice(0, -LIST.length), narrow.slice(0, -LIST.length), ladders);
  const ladder = ladders.find((types) => types.includes(narrow));
  if (ladder !== undefined) return ladder.indexOf(wide) > ladder.indexOf(narrow);
  const [of, than] = [DECIMAL.exec(wide), DECIMAL.exec(narrow)];
  return of !== null && than !== null && of[2] === than[2] && Number(of[1]) > Number(than[1]);
}
