/** What is true of a catalogue as a whole, whichever server uses it. */
import { StartRefusal } from '../data-directory.ts'
import { randomHex } from '../ids.ts'
import type { Secrets } from '../secrets.ts'
import type { Database, Transaction } from './database.ts'

type FactName = 'catalogue_id' | 'master_key_check'

/** Kept as it was found first: of several servers that state a fact at once, one is right. */
async function stateFact(tx: Transaction, name: FactName, value: string): Promise<string> {
  await tx.insertInto('catalogue_facts').values({ name, value }).onConflict((fact) => fact.column('name').doNothing()).execute()
  const { value: stated } = await tx.selectFrom('catalogue_facts').select('value').where('name', '=', name).executeTakeFirstOrThrow()
  return stated
}

/** Identifies the catalogue, also after its data has moved: 32 hexadecimal digits. */
export async function identifyCatalogue(db: Database): Promise<string> {
  return db.transaction().execute((tx) => stateFact(tx, 'catalogue_id', randomHex(32)))
}

/** Whether a server has used this catalogue, and sealed something in it. */
export async function hasMasterKey(db: Database): Promise<boolean> {
  return await db.selectFrom('catalogue_facts').select('name').where('name', '=', 'master_key_check').executeTakeFirst() !== undefined
}

const CHECK_PURPOSE = 'master-key-check'

/**
 * Refuses to go on with a key that is not the catalogue's: what is sealed with it, no other server
 * could open. The first key that a catalogue sees is its own.
 */
export async function verifyMasterKey(db: Database, secrets: Secrets, keyPath: string): Promise<void> {
  const sealed = await db.transaction().execute((tx) => stateFact(tx, 'master_key_check', secrets.seal(CHECK_PURPOSE, CHECK_PURPOSE)))
  try {
    secrets.unseal(CHECK_PURPOSE, sealed)
  } catch (error) {
    throw new StartRefusal(`${keyPath} is not the master key of this catalogue: put the key there with which the catalogue was first used, `
      + 'or name its file with --master-key-file.', { cause: error })
  }
}
