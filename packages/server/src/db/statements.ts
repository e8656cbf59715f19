/**
 * Statements that are put together once and run with many values. Building and compiling a statement
 * with Kysely takes longer than running it where an index finds the rows at once. PostgreSQL too reads and plans them once.
 */
import { type Compilable, type CompiledQuery } from 'kysely'
import { preparedReadsOf, runNowOf, type Reader } from './database.ts'
import { dialectOf } from './dialect.ts'

/** Stands for a value while a statement is built. */
class Slot {
  readonly name: string
  readonly index: number | undefined
  constructor(name: string, index?: number) {
    this.name = name
    this.index = index
  }
}

type Value = string | number | null
/** Undefined members belong to the shape of a statement: it is another one without them. */
export type StatementValues = Readonly<Record<string, Value | readonly Value[] | undefined>>

/** Beyond this many, rarely used shapes are built anew. */
const STATEMENTS_KEPT_MAX = 500
const known = new Map<string, CompiledQuery>()

/**
 * Runs a statement. `build` is called once for each shape: each dialect, each text given as `shape`, and each choice of
 * members and of the lengths of lists. It decides nothing by a value, only by whether there is one, and
 * hands values to the statement unchanged.
 */
export async function runStatement<Values extends StatementValues, Row>(
  db: Reader, shape: string, values: Values, build: (values: Values) => Compilable<Row>,
): Promise<Row[]> {
  const statement = statementOf(db, shape, values, build)
  const prepared = preparedReadsOf(db)
  if (prepared !== undefined) return prepared.run<Row>(statement)
  const runNow = runNowOf(db)
  if (runNow !== undefined) return runNow<Row>(statement).rows
  return (await db.executeQuery<Row>(statement)).rows
}

/** A statement with its values. */
export function statementOf<Values extends StatementValues>(
  db: Reader, shape: string, values: Values, build: (values: Values) => Compilable,
): CompiledQuery {
  let key = `${dialectOf(db)} ${shape}`
  for (const [name, value] of Object.entries(values)) {
    if (value !== undefined) key += Array.isArray(value) ? ` ${name}:${value.length}` : ` ${name}`
  }
  let statement = known.get(key)
  if (statement === undefined) {
    statement = build(slotsOf(values)).compile()
    if (known.size >= STATEMENTS_KEPT_MAX) known.clear()
    known.set(key, statement)
  }
  return { ...statement, parameters: statement.parameters.map((each) => fill(each, values)) }
}

function slotsOf<Values extends StatementValues>(values: Values): Values {
  const slots = Object.entries(values).map(([name, value]) => {
    if (value === undefined) return [name, undefined]
    return [name, Array.isArray(value) ? value.map((_, index) => new Slot(name, index)) : new Slot(name)]
  })
  return Object.fromEntries(slots) as Values
}

function fill(parameter: unknown, values: StatementValues): unknown {
  if (!(parameter instanceof Slot)) return parameter
  const value = values[parameter.name]
  return parameter.index === undefined ? value : (value as readonly Value[])[parameter.index]
}
